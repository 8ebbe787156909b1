"""Long commands on a target whose connection drops: a real sshd that is cut off, real processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from edgeconv.benchmarks.agent.job_watch import STARTED_ANEW
from edgeconv.benchmarks.run import RunSettings, run_benchmark
from edgeconv.bundles import load_bundle
from edgeconv.devices.jobs import run_job
from edgeconv.errors import ConnectionLostError, DeviceError
from tests.devices.processes import assert_ends

pytestmark = pytest.mark.device

VENV = Path(sys.executable).parent


@pytest.fixture
def agent(target, tiny_bundle):
    """The agent, with a command that takes so many seconds and tells about it."""
    main = tiny_bundle.parent / "main.py"
    main.write_text(
        f"""if 1:
        import argparse, json, sys, time
        sys.path.insert(0, {str(tiny_bundle / "agent.pyz")!r})
        from edgeconv.benchmarks.agent import job

        def main(arguments):
            if arguments[0] == "take":
                for step in range(int(float(arguments[1]) * 10)):
                    print(json.dumps({{"step": step}}), flush=True)
                    time.sleep(0.1)
                return int(arguments[2])
            parser = argparse.ArgumentParser()
            job.add_parser(parser.add_subparsers(), main)
            options = parser.parse_args(arguments)
            options.command(options)
            return 0

        sys.exit(main(sys.argv[1:]))
        """
    )
    return [*target.python, str(main)]


def run(target, agent, *arguments, **options):
    settings = {"directory": f"{target.workspace}/job", "environment": {}, "timeout_seconds": 120, **options}
    return run_job(target, agent, arguments, **settings)


def job_of(target):
    return json.loads(target.pull(f"{target.workspace}/job/job.json"))


class Once:
    """Does something when the first line of progress is told."""

    def __init__(self, action):
        self.action, self.lines = action, []

    def __call__(self, line):
        self.lines.append(line)
        if len(self.lines) == 1:
            self.action()


def test_how_it_ended_is_told_with_its_progress(target, agent):
    steps = []
    end = run(target, agent, "take", "1", "3", on_progress=steps.append)
    assert (end.returncode, end.reason) == (3, "")
    assert steps == sorted(steps, key=lambda line: line["step"])
    assert steps


def test_a_dropped_connection_is_not_noticed_by_the_job(target, agent, sshd):
    once = Once(sshd.drop)
    end = run(target, agent, "take", "4", "3", on_progress=once)
    assert (end.returncode, end.reason) == (3, "")
    assert once.lines[-1]["step"] > once.lines[0]["step"], "it was not attended to after the drop"


def test_a_job_that_ended_while_nobody_was_there_is_collected(target, agent, sshd):
    def cut_off():
        sshd.stop_all()
        time.sleep(4)
        sshd.start()

    end = run(target, agent, "take", "2", "3", on_progress=Once(cut_off))
    assert (end.returncode, end.reason) == (3, "")


def test_a_target_that_does_not_come_back_is_told_after_a_bounded_time(target, agent, sshd):
    with pytest.raises(ConnectionLostError) as caught:
        run(target, agent, "take", "60", "0", on_progress=Once(sshd.stop_all), patience_seconds=3)
    assert "tried again for 3 s" in str(caught.value) or "Start it there" in caught.value.hint
    sshd.start()


def test_a_device_that_was_started_anew_is_told_so(target, agent, sshd):
    """Its processes are gone, its files are there, and the kernel has another boot id."""

    def restart():
        job = job_of(target)
        sshd.stop_all()
        for pid in (job["supervisor"], job["worker"]):
            os.kill(pid, signal.SIGKILL)
        Path(target.workspace, "job", "job.json").write_text(json.dumps({**job, "boot_id": "before"}))
        sshd.start()

    end = run(target, agent, "take", "60", "0", on_progress=Once(restart))
    assert (end.returncode, end.reason) == (None, STARTED_ANEW)


def test_a_killed_agent_is_told_by_its_signal(target, agent):
    end = run(target, agent, "take", "60", "0", on_progress=Once(lambda: os.kill(job_of(target)["worker"], 9)))
    assert (end.returncode, end.reason) == (-9, "")


def test_a_job_that_takes_too_long_is_ended(target, agent):
    end = run(target, agent, "take", "60", "0", timeout_seconds=2)
    assert end.reason == "it took longer than 2 s"
    assert_ends(job_of(target)["worker"])


def test_an_interrupted_run_ends_its_job(target, agent):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(target, agent, "take", "300", "0", on_progress=Once(interrupt))
    assert_ends(job_of(target)["worker"])


def test_an_agent_that_does_not_start_is_told_in_its_own_words(target):
    end = run(target, [*target.python, "-c", "import sys; sys.exit('no module named this')"], "take")
    assert end.returncode == 1
    assert "no module named this" in end.stderr


def bench(sshd, path, **options):
    arguments = {"runtimes": ["onnxruntime"], "precisions": ["fp32"], "settings": RunSettings.quick(), **options}
    return run_benchmark(load_bundle(path), sshd.target, **arguments)


def test_a_bundle_is_measured_and_what_is_there_is_not_sent_again(sshd, tiny_bundle):
    record = bench(sshd, tiny_bundle, precisions=["fp32", "int8"])
    assert [len(result.latency_ns.samples) >= 7 for result in record.results] == [True, True]
    assert all(result.drift is not None for result in record.results)
    assert record.target == sshd.target
    folder = sshd.home / ".cache" / "edgeconv" / "target"
    assert list((folder / "runs").iterdir()) == []
    stored = {path: path.stat().st_ctime_ns for path in (folder / "store").iterdir()}
    bench(sshd, tiny_bundle)
    assert {path: path.stat().st_ctime_ns for path in (folder / "store").iterdir()} == stored


def test_a_measurement_survives_a_dropped_connection(sshd, tiny_bundle):
    events = Once(sshd.drop)
    settings = RunSettings(RunSettings.quick().protocol, rounds=1)
    record = bench(sshd, tiny_bundle, settings=settings, events=events)
    (result,) = record.results
    assert events.lines, "there was no connection to drop"
    assert result.latency_ns.samples
    assert result.drift is not None


def test_a_bundle_for_another_machine_is_refused_before_anything_is_sent(sshd, tiny_bundle):
    document = json.loads((tiny_bundle / "manifest.json").read_text())
    (tiny_bundle / "manifest.json").write_text(json.dumps({**document, "device": "raspberry-pi-5"}))
    sshd.environment["PATH"] = f"{tiny_bundle.parent}:{sshd.environment['PATH']}"
    uname = tiny_bundle.parent / "uname"
    uname.write_text('#!/bin/sh\n[ "$1" = -m ] && echo riscv64 || echo Linux\n')
    uname.chmod(0o755)
    sshd.stop()
    sshd.start()
    with pytest.raises(DeviceError, match=r"for raspberry-pi-5 \(aarch64\); The target is riscv64"):
        bench(sshd, tiny_bundle)
    assert list((sshd.home / ".cache" / "edgeconv" / "target").glob("store/*")) == []


def test_a_target_with_an_old_python_is_told_so(sshd, tiny_bundle, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("python3", *(f"python3.{minor}" for minor in range(8, 15))):
        (tools / name).write_text("#!/bin/sh\necho 'Python 3.6.9'\n")
        (tools / name).chmod(0o755)
    sshd.environment["PATH"] = f"{tools}:/usr/bin:/bin"
    sshd.stop()
    sshd.start()
    with pytest.raises(DeviceError, match=r"Python 3\.6\.9"):
        bench(sshd, tiny_bundle)
