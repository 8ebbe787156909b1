from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgeconv.errors import CheckpointError, ModelError, UsageError
from edgeconv.training.tasks import get_task
from edgeconv.training.tasks.deblur import DeblurTask
from edgeconv.training.tasks.vessels import VesselsTask
from edgeconv.training.trainer import evaluate, load_trained, train


@dataclasses.dataclass(frozen=True)
class _SmallVessels(VesselsTask):
    """The real task on quarters of two held-out images, the same in every step, to be quick."""

    input_shape: tuple[int, int, int, int] = (1, 1, 128, 128)

    def training_batch(self, rng, size):
        return _quarters()

    def evaluation(self, count):
        return _quarters()


@functools.cache
def _quarters():
    inputs, targets = VesselsTask().evaluation(2)
    return inputs[..., 64:192, 64:192], targets[..., 64:192, 64:192]


def test_train_reduces_the_loss_and_writes_a_checkpoint_that_fits(tmp_path):
    losses = []
    output = tmp_path / "v.safetensors"
    result = train(_SmallVessels(), output=output, steps=25, progress=lambda step, steps, text: losses.append(text))
    values = [float(text.removeprefix("loss ")) for text in losses]
    assert len(values) == 25
    assert np.mean(values[-3:]) < 0.8 * np.mean(values[:3])
    record = json.loads(result.record.read_text())
    assert record["steps"] == 25
    assert record["held_out"]["value"] == pytest.approx(result.value, abs=1e-4)
    assert record["command"] == "edgeconv train vessels --steps 25 --seed 0 --device cpu -o v.safetensors"
    _SmallVessels().build_model(128, 128).load_state_dict(load_file(output), strict=True)


def test_train_gives_the_same_weights_for_the_same_seed_and_leaves_the_global_generator_alone(tmp_path):
    state = torch.random.get_rng_state()
    one, two, three = (
        train(_SmallVessels(), output=tmp_path / f"{k}.safetensors", steps=2, seed=seed).checkpoint.read_bytes()
        for k, seed in enumerate((5, 5, 6))
    )
    assert one == two
    assert one != three
    assert torch.equal(state, torch.random.get_rng_state())


def test_train_stops_and_writes_nothing_when_the_loss_is_not_finite(tmp_path):
    class Diverging(_SmallVessels):
        def loss(self, outputs, targets):
            return super().loss(outputs, targets) * float("nan")

    with pytest.raises(ModelError, match="step 1 of 3"):
        train(Diverging(), output=tmp_path / "v.safetensors", steps=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, "at least one step"),
        ({"device": "abacus"}, "abacus"),
        ({"device": "meta"}, "meta"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 10**20}, "below 2\\^63"),
        ({"output": "v.pt"}, "safetensors"),
    ],
)
def test_train_refuses_a_request_that_means_nothing(tmp_path, change, words):
    arguments = {"output": "v.safetensors", "steps": 1, **change}
    arguments["output"] = tmp_path / arguments["output"]
    with pytest.raises(UsageError, match=words):
        train(VesselsTask(), **arguments)


def test_train_keeps_an_existing_output(tmp_path):
    output = tmp_path / "v.safetensors"
    output.write_bytes(b"mine")
    with pytest.raises(UsageError, match="kept as it is"):
        train(VesselsTask(), output=output, steps=1)
    assert output.read_bytes() == b"mine"


def test_load_trained_names_the_file_when_it_is_missing_or_does_not_fit(tmp_path):
    with pytest.raises(CheckpointError, match="nothing"):
        load_trained(VesselsTask(), tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointError, match="does not fit"):
        load_trained(VesselsTask(), DeblurTask().checkpoint_path)


@pytest.mark.parametrize("name", ["deblur", "vessels"])
def test_packaged_checkpoint_is_small_and_reaches_the_recorded_metric(name):
    task = get_task(name)
    record = json.loads(task.checkpoint_path.with_suffix(".json").read_text())
    assert task.checkpoint_path.stat().st_size <= 2_000_000
    assert record["held_out"]["metric"] == task.metric
    assert record["held_out"]["value"] == pytest.approx(np.mean(record["held_out"]["values"]), abs=1e-3)
    assert evaluate(load_trained(task), task, 4) == pytest.approx(record["held_out"]["values"][:4], rel=0.01)


def test_gated_deblur_network_beats_the_one_without_gates_after_the_same_training():
    task = get_task("deblur")
    plain_path = task.checkpoint_path.with_name("deblur-without-gates.safetensors")
    gated, plain = (json.loads(p.with_suffix(".json").read_text()) for p in (task.checkpoint_path, plain_path))
    for key in ("steps", "seed", "batch_size", "learning_rate"):
        assert gated[key] == plain[key]
    assert gated["held_out"]["value"] > plain["held_out"]["value"] > gated["held_out"]["value_of_input"]
    inputs = 6
    gated_db = evaluate(load_trained(task), task, inputs)
    plain_db = evaluate(load_trained(task, plain_path, gates=False), task, inputs)
    assert np.mean(gated_db) > np.mean(plain_db)
