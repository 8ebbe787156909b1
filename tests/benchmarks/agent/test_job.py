"""Detached jobs of the real agent file, in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeconv.benchmarks.agent import job_watch
from edgeconv.benchmarks.agent.job_watch import JobWatch, started_ticks
from edgeconv.benchmarks.agent_archive import build_agent

# An agent whose command is any Python: what a job runs does not matter to it.
_MAIN = """\
import argparse, sys
from edgeconv.benchmarks.agent import job

def main(arguments):
    if arguments[0] == "exec":
        exec(arguments[1], {})
        return 0
    parser = argparse.ArgumentParser()
    job.add_parser(parser.add_subparsers(), main)
    options = parser.parse_args(arguments)
    options.command(options)
    return 0

sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent")
    archive = folder / "agent.pyz"
    archive.write_bytes(build_agent())
    main = folder / "main.py"
    main.write_text(f"import sys\nsys.path.insert(0, {str(archive)!r})\n{_MAIN}")
    return [sys.executable, str(main)]


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "job"


def start(agent, directory, code, *options):
    command = [*agent, "job", "start", "--directory", str(directory), *options, "--", "exec", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(process):
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    return [json.loads(line) for line in output.splitlines()]


def run(agent, directory, code, *options):
    return told(start(agent, directory, code, *options))


def action(agent, verb, directory):
    command = [*agent, "job", verb, "--directory", str(directory)]
    return told(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def job_of(directory):
    until((directory / "job.json").exists)
    return json.loads((directory / "job.json").read_text())


def test_how_it_ended_comes_last(agent, directory):
    lines = run(agent, directory, "import sys; print('why', file=sys.stderr); sys.exit(5)")
    assert lines[-1] == {"state": "ended", "returncode": 5, "stderr": "why\n", "overdue": False, "out_of_memory": False}
    assert all(line["state"] == "running" for line in lines[:-1])


def test_its_lines_of_json_are_passed_on_and_others_are_not(agent, directory):
    code = """if 1:
        import time
        for text in ("noise", '{"phase": "load"}', "[1]", '{"phase": "sampling"}'):
            print(text, flush=True)
            time.sleep(0.5)"""
    lines = run(agent, directory, code)
    assert [line["progress"] for line in lines[:-1] if line["progress"]] == [{"phase": "load"}, {"phase": "sampling"}]


def test_a_silent_job_is_told_to_be_running(agent, directory):
    lines = run(agent, directory, "import time; time.sleep(5)")
    assert len([line for line in lines if line == {"state": "running", "progress": None}]) >= 3


def test_it_goes_on_when_nobody_listens_and_is_found_again(agent, directory):
    starter = start(agent, directory, "import time, sys; time.sleep(3); print('{\"n\": 1}'); sys.exit(7)")
    job = job_of(directory)
    starter.kill()
    starter.communicate()
    assert started_ticks(job["worker"]) is not None
    lines = action(agent, "wait", directory)
    assert lines[-1]["returncode"] == 7
    assert {"state": "running", "progress": {"n": 1}} in lines


def test_it_goes_on_when_its_listener_has_closed_its_ears(agent, directory):
    starter = start(agent, directory, "import time; time.sleep(3)")
    job_of(directory)
    starter.stdout.close()
    assert starter.wait(timeout=60) == 0
    starter.stderr.close()
    assert action(agent, "wait", directory)[-1]["returncode"] == 0


def test_started_twice_it_runs_once(agent, directory, tmp_path):
    code = f"import time; open({str(tmp_path / 'runs')!r}, 'a').write('x'); time.sleep(2)"
    first = start(agent, directory, code)
    second = start(agent, directory, code)
    assert told(first)[-1] == told(second)[-1]
    assert run(agent, directory, code)[-1]["returncode"] == 0
    assert (tmp_path / "runs").read_text() == "x"


def test_a_killed_command_tells_its_signal(agent, directory):
    process = start(agent, directory, "import time; time.sleep(300)")
    os.kill(job_of(directory)["worker"], signal.SIGKILL)
    assert told(process)[-1]["returncode"] == -signal.SIGKILL


def test_a_job_that_was_killed_with_its_supervisor_is_lost(agent, directory):
    process = start(agent, directory, "import time; time.sleep(300)")
    job = job_of(directory)
    for pid in (job["supervisor"], job["worker"]):
        os.kill(pid, signal.SIGKILL)
    last = told(process)[-1]
    assert (last["state"], last["reason"]) == ("lost", "it was killed from outside, supervisor and all")
    assert action(agent, "wait", directory)[-1] == last


def test_a_job_of_an_earlier_boot_is_lost(agent, directory):
    process = start(agent, directory, "import time; time.sleep(300)")
    job = job_of(directory)
    process.kill()
    process.communicate()
    for pid in (job["supervisor"], job["worker"]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: started_ticks(job["supervisor"]) is None)
    (directory / "job.json").write_text(json.dumps({**job, "boot_id": "another"}))
    assert action(agent, "wait", directory)[-1] == {"state": "lost", "reason": job_watch.STARTED_ANEW}


def test_a_number_that_another_process_has_now_is_not_the_job(agent, directory):
    run(agent, directory, "pass")
    job = json.loads((directory / "job.json").read_text())
    (directory / "status.json").unlink()
    (directory / "job.json").write_text(json.dumps({**job, "supervisor": os.getpid()}))
    assert action(agent, "wait", directory)[-1]["state"] == "lost"


def test_it_is_not_started_in_another_boot_than_it_was_meant_for(agent, directory):
    lines = run(agent, directory, "pass", "--boot-id", "another")
    assert lines == [{"state": "lost", "reason": job_watch.STARTED_ANEW}]
    assert not directory.exists()
    assert run(agent, directory, "pass", "--boot-id", str(job_watch.boot_id()))[-1]["returncode"] == 0


def test_the_kernels_kills_for_want_of_memory_are_told(directory, monkeypatch, tmp_path):
    """The counter is the kernel's; to make it count here would be rude."""
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("nr_free_pages 1\noom_kill 4\n")
    monkeypatch.setattr(job_watch, "_VMSTAT", vmstat)
    assert job_watch.oom_kills() == 4
    directory.mkdir()
    job = {"supervisor": 2**22 + 1, "worker": 1, "started_ticks": 1, "boot_id": job_watch.boot_id(), "oom_kills": 3}
    (directory / "job.json").write_text(json.dumps(job))
    last = JobWatch(directory).last()
    assert last == {"state": "lost", "reason": "the device ran out of memory and its kernel killed it"}


def test_what_takes_too_long_is_ended_with_all_its_processes(agent, directory, tmp_path):
    code = f"""if 1:
        import subprocess, time
        child = subprocess.Popen(["sleep", "300"])
        open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
        time.sleep(300)"""
    last = run(agent, directory, code, "--limit-seconds", "2")[-1]
    assert (last["returncode"], last["overdue"]) == (-signal.SIGKILL, True)
    child = int((tmp_path / "child").read_text())
    until(lambda: started_ticks(child) is None)


def test_stop_ends_it_with_all_its_processes(agent, directory):
    process = start(
        agent,
        directory,
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('{}', flush=True); time.sleep(300)",
    )
    worker = job_of(directory)["worker"]
    until((directory / "stdout").read_text)
    assert action(agent, "stop", directory)[-1]["returncode"] == -signal.SIGKILL
    assert started_ticks(worker) is None
    assert told(process)[-1]["state"] == "ended"
    assert action(agent, "stop", directory)[-1]["state"] == "ended"


def test_what_it_leaves_behind_ends_with_it(agent, directory, tmp_path):
    code = f"""if 1:
        import subprocess
        child = subprocess.Popen(["sleep", "300"])
        open({str(tmp_path / "child")!r}, "w").write(str(child.pid))"""
    assert run(agent, directory, code)[-1]["returncode"] == 0
    child = int((tmp_path / "child").read_text())
    until(lambda: started_ticks(child) is None)


def test_a_job_that_was_never_started_is_absent(agent, directory):
    assert action(agent, "wait", directory)[-1] == {"state": "absent"}
    assert action(agent, "stop", directory)[-1] == {"state": "absent"}


def test_a_directory_that_cannot_be_made_is_an_error_of_the_agent(tmp_path):
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(build_agent())
    command = [sys.executable, str(archive), "job", "start", "--directory", str(tmp_path / "a" / "b"), "--", "host"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "cannot be made" in json.loads(done.stderr)["error"]


def test_the_agents_own_commands_run_as_jobs(tmp_path):
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(build_agent())
    command = [sys.executable, str(archive), "job", "start", "--directory", str(tmp_path / "job"), "--", "host"]
    lines = told(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    assert lines[-1]["returncode"] == 0
    assert json.loads(Path(tmp_path, "job", "stdout").read_text())["machine"] == os.uname().machine
