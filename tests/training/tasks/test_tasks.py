from __future__ import annotations

import numpy as np
import pytest

from edgeconv.errors import UsageError
from edgeconv.training.tasks import get_task, task_names
from edgeconv.training.tasks.base import sample_rng

TASKS = ["deblur", "vessels", "vessels-factorizer"]


def test_task_names_lists_them_all():
    assert task_names() == TASKS


def test_get_task_suggests_the_near_name_when_misspelt():
    with pytest.raises(UsageError, match="vessels"):
        get_task("vesels")


@pytest.mark.parametrize("name", TASKS)
def test_training_batch_is_deterministic_and_has_the_declared_shape(name):
    task = get_task(name)
    inputs, targets = task.training_batch(sample_rng(1), 2)
    again, same_targets = task.training_batch(sample_rng(1), 2)
    assert inputs.shape == targets.shape == (2, *task.input_shape[1:])
    assert inputs.dtype == np.uint8
    assert targets.dtype == np.float32
    assert 0 <= targets.min() < targets.max() <= 1
    np.testing.assert_array_equal(inputs, again)
    np.testing.assert_array_equal(targets, same_targets)


@pytest.mark.parametrize("name", TASKS)
def test_evaluation_starts_with_the_same_samples_whatever_the_count(name):
    task = get_task(name)
    two, three = task.evaluation(2), task.evaluation(3)
    np.testing.assert_array_equal(two[0], three[0][:2])
    np.testing.assert_array_equal(two[1], three[1][:2])


@pytest.mark.parametrize("name", TASKS)
def test_calibration_depends_on_the_seed_and_is_no_evaluation_image(name):
    task = get_task(name)
    first, again, other = (task.calibration(2, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, *task.input_shape[1:])
    assert first.dtype == np.uint8
    held_out = task.evaluation(2)[0]
    for image in (*first, *other):
        assert all((image != seen).any() for seen in held_out)
    assert (first != other).any()
