"""Rounds and attempts with an agent that plays back what it is told; the real one is in test_run."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from edgeconv.benchmarks.agent.percentiles import make_latency
from edgeconv.benchmarks.agent.protocol import LatencyProtocol
from edgeconv.benchmarks.campaign import run_campaign
from edgeconv.benchmarks.settings import RunSettings
from edgeconv.benchmarks.target_agent import Measurement, failed_result
from edgeconv.manifest import Artifact

MS = 1_000_000
SETTINGS = RunSettings(LatencyProtocol(min_seconds=3.0, min_count=44))


def plan(name):
    return Measurement(Artifact(name, name, 1, name, "int8", [], []), 1, SETTINGS.protocol)


class Agent:
    """Medians in milliseconds by artefact, one for each process; None: it fails."""

    def __init__(self, **medians):
        self._medians = {
            name: itertools.chain(values, itertools.repeat(values[-1])) for name, values in medians.items()
        }
        self.order, self.protocols, self.replays = [], [], []

    def measure(self, measurement):
        name = measurement.artifact.runtime
        self.order.append(name)
        self.protocols.append(measurement.protocol)
        self.replays.append(measurement.replay)
        median = next(self._medians[name])
        failed = failed_result(measurement.artifact, 1, "it crashed")
        if median is None:
            return failed, {}
        latency = make_latency([median * MS] * 20, [], [20])
        ran = dataclasses.replace(failed, valid=True, invalid_reasons=[], latency_ns=latency)
        return ran, {"y": np.array([float(len(self.order))])}


def campaign(agent, *names, settings=SETTINGS):
    told = []
    found = run_campaign(agent, [plan(n) for n in names], settings, lambda *words: told.append(words))
    return found, told


def test_artefacts_take_turns_and_share_the_protocol():
    agent = Agent(a=[10], b=[20], c=[30])
    found, told = campaign(agent, "a", "b", "c")
    assert len(agent.order) == 9
    assert [sorted(agent.order[i : i + 3]) for i in (0, 3, 6)] == [["a", "b", "c"]] * 3
    assert len({tuple(agent.order[i : i + 3]) for i in (0, 3, 6)}) == 3
    assert {p.min_seconds for p in agent.protocols} == {1.0}
    assert agent.replays == [True] * 3 + [False] * 6  # the golden cases once are enough
    assert [result.runtime for result, _ in found] == ["a", "b", "c"]
    assert [len(result.latency_ns.samples) for result, _ in found] == [60, 60, 60]
    assert [(done, total) for done, total, _ in told] == [(i, 9) for i in range(10)]
    assert told[0][2] == "a int8 (round 1 of 3)"


def test_what_is_not_steady_is_measured_anew_and_the_rest_is_not():
    agent = Agent(a=[10], b=[20, 20, 30, 20])
    found, told = campaign(agent, "a", "b")
    assert agent.order.count("a") == 3
    assert agent.order.count("b") == 6
    (a, _), (b, _) = found
    assert (a.attempts, b.attempts) == (1, 2)
    assert b.valid
    assert set(b.latency_ns.samples) == {20 * MS}
    assert "do not agree" in b.evidence["attempt 1"]
    assert told[-2:] == [(8, 9, "b int8 (round 3 of 3, attempt 2)"), (9, 9, "done")]


def test_after_three_attempts_it_is_invalid_and_its_last_samples_are_kept():
    agent = Agent(a=[10, 20, 10] * 3)
    ((result, outputs),) = campaign(agent, "a")[0]
    assert len(agent.order) == 9
    assert not result.valid
    assert result.attempts == 3
    assert result.latency_ns.samples.count(20 * MS) == 20
    assert outputs


def test_a_failing_artefact_is_not_tried_again_and_the_others_go_on():
    agent = Agent(a=[None], b=[20])
    (a, outputs), (b, _) = campaign(agent, "a", "b")[0]
    assert agent.order.count("a") == 1
    assert (a.valid, a.invalid_reasons, outputs, a.attempts) == (False, ["it crashed"], {}, 1)
    assert b.valid


def test_a_crash_in_a_later_round_is_the_result():
    agent = Agent(a=[10, None])
    ((result, outputs),) = campaign(agent, "a")[0]
    assert result.invalid_reasons == ["it crashed"]
    assert outputs == {}
    assert len(agent.order) == 2


def test_one_round_and_one_attempt_is_one_process():
    agent = Agent(a=[10])
    settings = RunSettings.quick()
    ((result, _),) = run_campaign(agent, [dataclasses.replace(plan("a"), protocol=settings.protocol)], settings)
    assert agent.order == ["a"]
    assert agent.protocols == [settings.protocol]
    assert result.latency_ns.rounds == [20]


@pytest.mark.parametrize(("rounds", "attempts"), [(0, 1), (1, 0)])
def test_no_round_and_no_attempt_mean_nothing(rounds, attempts):
    from edgeconv.errors import UsageError

    with pytest.raises(UsageError, match="at least 1"):
        RunSettings(rounds=rounds, attempts=attempts)
