"""Sending by content, to a real sshd, with what can go wrong on the way."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pytest

from edgeconv.devices.transports import open_transport
from edgeconv.errors import DeviceError, UsageError

pytestmark = pytest.mark.device

MIB = 1 << 20


@pytest.fixture
def source(tmp_path):
    """Names that a shell could trip over, an empty file, the same content twice, and one of several chunks."""
    folder = tmp_path / "source"
    (folder / "sub folder" / "deep").mkdir(parents=True)
    for name in ("plain", "sub folder/it's $HOME; *", "sub folder/deep/-rf", "ünï\\code"):
        (folder / name).write_bytes(name.encode())
    (folder / "empty").touch()
    shutil.copy(folder / "plain", folder / "same")
    (folder / "big").write_bytes(random.Random(0).randbytes(13 * MIB + 5))
    return folder


class Counter:
    def __init__(self):
        self.calls = []

    def __call__(self, sent, total):
        self.calls.append((sent, total))

    @property
    def sent(self):
        return self.calls[-1][0] if self.calls else 0


def contents(folder):
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def pushed(target, source):
    counter = Counter()
    there = target.push(source, progress=counter)
    assert contents(there) == contents(source)
    return there, counter


def test_a_directory_arrives_as_it_is_and_for_nobody_else(target, source):
    there, counter = pushed(target, source)
    unique = set(contents(source).values())
    assert counter.calls[-1] == (sum(map(len, unique)),) * 2
    assert [sent for sent, _ in counter.calls] == sorted(sent for sent, _ in counter.calls)
    for path in [Path(target.folder), *Path(target.folder).rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert list(Path(target.folder, "incoming").iterdir()) == []
    assert Path(there).parent == Path(target.folder, "bundles")


def test_what_is_there_is_not_sent_again(target, source, sshd):
    there, _ = pushed(target, source)
    (source / "new").write_bytes(b"new")
    (source / "plain").unlink()
    with closing(open_transport(sshd.target)) as second:
        elsewhere, counter = pushed(second, source)
        assert counter.calls[-1] == (3, 3)
        again = Counter()
        assert second.push(source, progress=again) == elsewhere
        assert again.calls == []
        assert list(Path(second.folder, "incoming").iterdir()) == []
    assert elsewhere != there


def test_one_file_can_be_sent(target, source):
    there = target.push(source / "plain")
    assert Path(there).name == "plain"
    assert Path(there).read_bytes() == b"plain"


def test_a_program_can_be_run_from_where_it_was_sent(target, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho it runs\n")
    done = target.run([target.push(program)], environment={}, timeout_seconds=30)
    assert done.stdout == "it runs\n"


def test_a_dropped_connection_costs_only_what_had_not_arrived(target, source, sshd):
    drops = []

    def drop_once(sent, total):
        if sent > 0.8 * total and not drops:
            drops.append(sent)
            sshd.drop()

    counter = Counter()

    def progress(sent, total):
        counter(sent, total)
        drop_once(sent, total)

    there = target.push(source, progress=progress)
    assert drops
    assert contents(there) == contents(source)
    assert counter.calls[-1][1] < counter.calls[0][1], "all of it was sent again"
    assert list(Path(target.folder, "incoming").iterdir()) == []


def arrived(target, sha256, data, pid):
    """As if a run had been cut short whose receiving process was `pid`."""
    folder = Path(target.folder, "incoming", "earlier")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pid").write_text(f"{pid}\n")
    (folder / sha256).write_bytes(data)
    return folder


def gone():
    """The number of a process that has ended."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_what_an_earlier_run_had_sent_is_not_sent_again(target, source):
    data = (source / "big").read_bytes()
    name = hashlib.sha256(data).hexdigest()
    earlier = arrived(target, f"{name}.0001", data[4 * MIB : 8 * MIB], gone())
    _, counter = pushed(target, source)
    assert counter.calls[-1][1] < len(data) - 3 * MIB
    assert not earlier.exists()


def test_what_another_run_is_sending_is_left_to_it(target, source):
    data = (source / "big").read_bytes()
    name = hashlib.sha256(data).hexdigest()
    other = arrived(target, f"{name}.0001", data[4 * MIB : 8 * MIB], os.getpid())
    _, counter = pushed(target, source)
    assert counter.calls[-1][1] > len(data)
    assert (other / f"{name}.0001").exists()


def test_what_arrived_otherwise_than_sent_is_sent_again(target, source):
    name = hashlib.sha256((source / "big").read_bytes()).hexdigest()
    arrived(target, f"{name}.0001", bytes(4 * MIB), gone())  # of the right size
    arrived(target, hashlib.sha256(b"plain").hexdigest(), b"PLAIN", gone())
    pushed(target, source)
    assert list(Path(target.folder, "incoming").iterdir()) == []


def test_a_half_written_chunk_of_an_earlier_run_is_replaced(target, source):
    name = hashlib.sha256((source / "big").read_bytes()).hexdigest()
    for part in ("0000", "0003"):
        arrived(target, f"{name}.{part}", b"half", gone())
    arrived(target, name, b"half joined", gone())
    pushed(target, source)


def test_a_file_that_a_power_cut_has_emptied_is_sent_again(target, source):
    there, _ = pushed(target, source)
    stored = Path(target.folder, "store", hashlib.sha256(b"plain").hexdigest())
    stored.chmod(0o600)
    stored.write_bytes(b"")
    assert Path(there, "plain").read_bytes() == b""
    _, counter = pushed(target, source)
    assert counter.sent == len(b"plain")


def test_a_bundle_without_links_is_copied(target, source, sshd, tmp_path):
    """Android forbids hard links in /data/local/tmp."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ln").write_text("#!/bin/sh\necho 'ln: Permission denied' >&2; exit 1\n")
    (tools / "ln").chmod(0o755)
    sshd.environment["PATH"] = f"{tools}:{sshd.environment['PATH']}"
    sshd.stop()
    sshd.start()
    with closing(open_transport(sshd.target)) as second:
        there, _ = pushed(second, source)
        assert Path(there, "plain").stat().st_nlink == 1


def test_two_runs_may_send_the_same_at_once(sshd, source):
    found, errors = [], []

    def send():
        try:
            with closing(open_transport(sshd.target)) as transport:
                found.append(transport.push(source))
        except DeviceError as error:
            errors.append(error)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(found)) == 1
    assert contents(found[0]) == contents(source)


def test_clean_removes_everything(target, source, sshd):
    pushed(target, source)
    target.clean()
    assert not Path(target.folder).exists()
    with closing(open_transport(sshd.target)) as second:
        pushed(second, source)


def test_what_changes_while_it_is_sent_is_noticed(target, source):
    def change(_sent, _total):
        (source / "big").write_bytes(b"shorter")

    with pytest.raises(DeviceError, match=r"did not arrive as it was, 3 times: .*FAILED"):
        target.push(source, progress=change)


@pytest.mark.parametrize("name", ["a\nb", " leading", "trailing "])
def test_a_name_that_cannot_be_sent_is_refused(target, tmp_path, name):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / name).touch()
    with pytest.raises(UsageError, match="cannot be sent"):
        target.push(folder)


def test_nothing_to_send_is_refused(target, tmp_path):
    with pytest.raises(UsageError, match="no file to send"):
        target.push(tmp_path / "absent")


def test_a_target_without_a_hash_tool_is_told_so(target, source, sshd, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "mkdir", "ls", "df", "tar", "cat", "sed", "chmod", "uname", "find", "dd", "rm", "env", "sync"):
        (tools / name).symlink_to(shutil.which(name, path="/usr/bin:/bin"))
    sshd.environment["PATH"] = str(tools)
    sshd.stop()
    sshd.start()
    with closing(open_transport(sshd.target)) as second, pytest.raises(DeviceError, match="sha256sum"):
        second.push(source)


def test_a_folder_that_cannot_be_made_is_told(sshd):
    (sshd.home / ".cache").write_text("a file")
    with pytest.raises(DeviceError, match=r"edgeconv/target cannot be used.*(Not a directory|File exists)"):
        open_transport(sshd.target)
