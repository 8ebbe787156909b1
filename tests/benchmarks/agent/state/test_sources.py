from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edgeconv.benchmarks.agent.state.sources import Sources, Stream, system_root


def script(tree, body):
    tree.put({"usr/bin/tool": f"#!/bin/sh\n{body}\n"})
    (tree.root / "usr/bin/tool").chmod(0o755)
    return Sources(tree.root, tool_seconds=0.5)


def test_a_tool_is_run(tree):
    assert script(tree, 'echo "$1 $2"').run("tool", "a", "b c") == "a b c\n"


@pytest.mark.parametrize("body", ["exit 3", "echo half; exit 1", ":", "kill -9 $$"])
def test_a_tool_that_fails_or_says_nothing_is_none(tree, body):
    assert script(tree, body).run("tool") is None


def test_a_tool_that_is_missing_or_no_program_is_none(tree):
    sources = Sources(tree.root)
    assert sources.run("tool") is None
    tree.put({"usr/bin/tool": "\x7fELF"})
    (tree.root / "usr/bin/tool").chmod(0o755)
    assert Sources(tree.root).run("tool") is None


def test_a_tool_that_hangs_is_ended_with_its_children_and_not_asked_again(tree):
    pid_file = tree.root / "pid"
    sources = script(tree, f"echo x >> {tree.root}/calls; sleep 60 & echo $! > {pid_file}; wait")
    assert sources.run("tool") is None
    assert sources.run("tool") is None
    assert (tree.root / "calls").read_text() == "x\n"
    assert not alive(int(pid_file.read_text()))


def test_the_tools_of_this_machine_do_not_stand_in_for_those_below_a_root(tree):
    assert Sources().find("sh") is not None
    assert Sources(tree.root).find("sh") is None


def test_a_stream_gives_its_latest_whole_line(tree):
    sources = script(tree, "echo one; echo two; printf thr; sleep 60")
    stream = Stream.start(sources, "tool")
    assert stream is not None
    lines = [stream.latest(2.0)]
    while lines[-1] not in (None, "two"):
        lines.append(stream.latest(2.0))
    assert lines[-1] == "two"
    assert stream.latest(0.1) is None
    stream.close()


def test_a_root_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGECONV_SYSROOT", raising=False)
    assert system_root() == Path("/")
    monkeypatch.setenv("EDGECONV_SYSROOT", str(tmp_path))
    assert Sources().root == tmp_path


def test_files_that_cannot_be_read_are_none(tree):
    tree.put({"proc/empty": "\n", "proc/word": "abc"})
    sources = Sources(tree.root)
    assert sources.text("proc/absent") is None
    assert sources.text("proc/empty") is None
    assert sources.text("proc") is None
    assert sources.number("proc/word") is None
    assert sources.number("proc/word", 16) == 0xABC


def alive(pid):
    for _ in range(50):
        try:
            os.kill(pid, 0)
            if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
                return False
        except (ProcessLookupError, FileNotFoundError):
            return False
        time.sleep(0.02)
    return True
