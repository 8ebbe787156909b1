from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeconv.devices.transports.hello import hello_script, new_run_name, parse_hello
from edgeconv.errors import DeviceError


def ask(root, run="run", **environment):
    script = hello_script(shlex.quote(str(root)), run)
    variables = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **environment}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=30, env=variables)
    return done.stdout


def test_this_machine_answers(tmp_path):
    hello = parse_hello("ssh://here", "run", ask(tmp_path / "it's here" / "edgeconv"))
    assert hello.folder == f"{tmp_path}/it's here/edgeconv"
    assert hello.workspace == f"{hello.folder}/runs/run"
    assert Path(hello.workspace).is_dir()
    assert Path(hello.folder).stat().st_mode & 0o777 == 0o700
    assert hello.python == [f"{Path(sys.executable).parent}/python3"]
    assert hello.system.machine == os.uname().machine
    assert hello.system.bits == 64
    assert hello.system.python_version == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize(
    ("versions", "python", "version"),
    [
        ({"python3": "Python 3.6.9", "python3.8": "Python 3.8.0"}, "python3.8", "3.8.0"),
        ({"python3": "Python 3.13.0rc1"}, "python3", "3.13.0rc1"),
        ({"python3": "Python 3.7.3"}, None, "3.7.3"),
        ({"python3": "Python 2.7.18"}, None, None),
        ({}, None, None),
    ],
)
def test_the_first_python_that_is_new_enough_is_taken(tmp_path, versions, python, version):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in (f"python3{minor}" for minor in ("", *(f".{number}" for number in range(8, 15)))):
        (tools / name).write_text(
            f"#!/bin/sh\necho '{versions[name]}'\n" if name in versions else "#!/bin/sh\nexit 127\n"
        )
        (tools / name).chmod(0o755)
    hello = parse_hello("ssh://here", "run", ask(tmp_path / "root", PATH=f"{tools}:/usr/bin:/bin"))
    assert hello.python == ([str(tools / python)] if python else [])
    assert hello.system.python_version == version


def test_workspaces_that_were_left_behind_are_removed_but_never_ones_own(tmp_path):
    runs = tmp_path / "runs"
    for name in ("own", "old", "recent"):
        (runs / name / "sub").mkdir(parents=True)
    days_ago = time.time() - 5 * 86_400
    for name in ("own", "old"):
        os.utime(runs / name, (days_ago, days_ago))
    ask(tmp_path, "own")
    assert sorted(path.name for path in runs.iterdir()) == ["own", "recent"]


def test_a_folder_that_cannot_be_made_is_told_in_the_targets_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DeviceError, match=r"file/edgeconv cannot be used: .*(Not a directory|File exists)"):
        parse_hello("ssh://here", "run", ask(tmp_path / "file" / "edgeconv"))


@pytest.mark.parametrize("answer", ["", "Permission denied", "folder=relative\nmachine=x", "folder=/x"])
def test_an_answer_that_is_none_is_told(answer):
    with pytest.raises(DeviceError, match="does not answer as a POSIX shell does"):
        parse_hello("ssh://here", "run", answer)


def test_no_two_runs_have_one_name():
    assert len({new_run_name() for _ in range(100)}) == 100
