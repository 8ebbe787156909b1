"""Sending a directory by content: the target is asked once what it has, and gets the rest in one stream.

Our folder on the target::

    store/<sha256>       every file that was ever sent, by its content
    incoming/<run>/      what has arrived and is not yet checked: <sha256>, big files as chunks <sha256>.0000, ...
    bundles/<name>/      a directory that was pushed, of hard links into the store (copies where links are forbidden)
    runs/<run>/          workspaces

A file comes into the store whole, by `mv`, after its hash was checked there; a directory comes into bundles/ whole, by
`mv`.  So nothing that was interrupted, by a dropped connection or by a reboot, is ever taken for what it is not, and
the chunks that did arrive are not sent again, neither by the same run nor by the next one.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import tarfile
from collections.abc import Iterator
from pathlib import Path

from edgeconv.devices.transports.base import PushProgress
from edgeconv.errors import DeviceError, UsageError
from edgeconv.files import sha256_bytes, sha256_file

__all__ = ["Missing", "Upload"]

_CHUNK_BYTES = 4 << 20
_READ_BYTES = 1 << 18
_SPARE_BYTES = 8 << 20  # of space on the target, beyond what is sent
_SEPARATOR = "--"

# Also takes over what arrived for a run that was cut short: one whose receiving process is gone.
_QUESTION = """\
umask 077
mkdir -p {root}/store {root}/bundles {root}/incoming && cd {root} || exit 1
for other in incoming/*; do
  [ "$other" != incoming/{run} ] && read -r pid <"$other/pid" && ! kill -0 "$pid" || continue
  mkdir -p incoming/{run} && mv "$other"/* incoming/{run}/
  rm -rf "$other"
done 2>/dev/null
ls -ln store && echo {separator} || exit 1
[ ! -d incoming/{run} ] || ls -ln incoming/{run}
echo {separator} && df -Pk . || exit 1
[ -d bundles/{name} ] && echo present
true"""

# Unpacks the stream, joins chunks, checks every hash, moves into the store, and makes the directory of links.  All
# files are executable, since the links to one content share its mode, and for their owner alone.  Another run may do
# the same at the same time: a directory that has appeared meanwhile is left alone, for it may be in use.
_RECEIVE = """\
umask 077
export LC_ALL=C
mkdir -p {root}/incoming/{run} && cd {root}/incoming/{run} || exit 1
echo $$ >pid
tar -x -o -f - || exit 1
while read -r hash file; do
  [ ! -e "$hash.0000" ] || cat "$hash".[0-9]* >"$hash" || exit 1
done <sums
if [ -s sums ] && ! sha256sum -c sums >verdict; then
  for hash in $(sed -n 's/: FAILED.*//p' verdict); do
    echo "$hash FAILED" >&2
    rm -f "$hash" "$hash".[0-9]*
  done
  exit 1
fi
while read -r hash file; do
  chmod 500 "$hash" && mv "$hash" ../../store/ || exit 1
done <sums
new=../../bundles/.{name}.$$
mkdir "$new" || exit 1
while read -r folder; do mkdir -p "$new/$folder" || exit 1; done <folders
while read -r hash path; do
  ln "../../store/$hash" "$new/$path" 2>/dev/null || cp "../../store/$hash" "$new/$path" || exit 1
done <links
if [ {replace} = no ] && [ -d ../../bundles/{name} ]; then
  rm -rf "$new"
else
  rm -rf ../../bundles/{name} && mv "$new" ../../bundles/{name} || exit 1
fi
cd .. && rm -rf {run}
sync 2>/dev/null
true"""


@dataclasses.dataclass(frozen=True)
class _File:
    path: Path
    sha256: str
    size: int


class Upload:
    """A directory, or one file, on its way into the folder `root` of the target called `where`, sent by `run`.

    Raises:
        UsageError: a file cannot be read, or its name has a line break.
    """

    def __init__(self, where: str, root: str, run: str, source: Path) -> None:
        self._where, self._root, self._run = where, root, run
        self._files = _collect(source)
        listing = "".join(f"{file.sha256} {path}\n" for path, file in self._files.items())
        self._name = sha256_bytes(listing.encode())[:32]
        self._links = listing.encode()
        folder = f"{root}/bundles/{self._name}"
        self.destination = f"{folder}/{source.name}" if source.is_file() else folder

    def question(self) -> str:
        """The script that tells what the target has."""
        root = shlex.quote(self._root)
        return _QUESTION.format(root=root, run=self._run, name=self._name, separator=_SEPARATOR)

    def missing(self, answer: str) -> Missing | None:
        """What is to be sent, given the answer to `question`; None when all of it is there.

        Raises:
            DeviceError: there is no space for it.
        """
        store, incoming, rest = [*answer.split(f"{_SEPARATOR}\n", 2), "", ""][:3]
        stored, arrived = _sizes(store), _sizes(incoming)
        unique = {file.sha256: file for file in self._files.values()}
        absent = [file for sha256, file in sorted(unique.items()) if stored.get(sha256) != file.size]
        present = rest.splitlines()[-1:] == ["present"]
        if not absent and present:
            return None
        parts = [part for file in absent for part in _parts(file) if arrived.get(part.name) != part.size]
        missing = Missing(
            name=self._name,
            root=shlex.quote(self._root),
            run=self._run,
            links=self._links,
            folders=self._folders(),
            files=absent,
            parts=parts,
            replace=present,
        )
        self._require_space(missing, rest)
        return missing

    def _folders(self) -> bytes:
        folders = sorted({str(parent) for path in self._files for parent in Path(path).parents} - {"."})
        return "".join(f"{folder}\n" for folder in folders).encode()

    def _require_space(self, missing: Missing, df: str) -> None:
        found = re.search(r"\s\d+\s+\d+\s+(\d+)\s+\d+%", df)
        joined = max((file.size for file in missing.files if file.size > _CHUNK_BYTES), default=0)
        needed = missing.total_bytes + joined + _SPARE_BYTES
        if found and missing.total_bytes and int(found.group(1)) * 1024 < needed:
            free = int(found.group(1)) / 1024
            raise DeviceError(
                f"{self._where} has {free:.0f} MiB free in {self._root}; {needed / 2**20:.0f} MiB are needed.",
                f"Make room there, or remove what earlier runs left: edgeconv bench BUNDLE --on {self._where} --clean.",
            )


@dataclasses.dataclass(frozen=True)
class _Part:
    name: str
    path: Path
    offset: int
    size: int


@dataclasses.dataclass(frozen=True)
class Missing:
    """Files that the target does not have, and the parts of them that have not arrived either."""

    name: str
    root: str  # quoted for a shell
    run: str
    links: bytes
    folders: bytes
    files: list[_File]
    parts: list[_Part]
    replace: bool  # a directory of links is there, and some of what it links to is damaged

    @property
    def total_bytes(self) -> int:
        """To be sent, names and padding apart."""
        return sum(part.size for part in self.parts)

    def script(self) -> str:
        """What receives `stream` on the target."""
        replace = "yes" if self.replace else "no"
        return _RECEIVE.format(root=self.root, run=self.run, name=self.name, replace=replace)

    def stream(self, progress: PushProgress) -> Iterator[bytes]:
        """A tar archive of the parts and of the lists that the script reads."""
        sums = "".join(f"{file.sha256}  {file.sha256}\n" for file in self.files).encode()
        for name, data in (("sums", sums), ("links", self.links), ("folders", self.folders)):
            yield _header(name, len(data))
            yield data
            yield _padding(len(data))
        sent = 0
        for part in self.parts:
            yield _header(part.name, part.size)
            for data in _read(part):
                yield data
                sent += len(data)
                progress(sent, self.total_bytes)
            yield _padding(part.size)
        yield bytes(2 * tarfile.BLOCKSIZE)


def _collect(source: Path) -> dict[str, _File]:
    """Every plain file below `source`, links followed, by its path there."""
    try:
        paths = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        base = source.parent if source.is_file() else source
        files = {p.relative_to(base).as_posix(): _File(p, sha256_file(p), p.stat().st_size) for p in paths}
    except OSError as error:
        raise UsageError(f"{source} cannot be sent: {error}.") from error
    for path in files:
        if "\n" in path or path != path.strip():
            raise UsageError(f"{source} has a file called {path!r}, which cannot be sent.", "Rename it.")
    if not files:
        raise UsageError(f"{source} has no file to send.")
    return files


def _parts(file: _File) -> list[_Part]:
    if file.size <= _CHUNK_BYTES:
        return [_Part(file.sha256, file.path, 0, file.size)]
    return [
        _Part(f"{file.sha256}.{index:04}", file.path, offset, min(_CHUNK_BYTES, file.size - offset))
        for index, offset in enumerate(range(0, file.size, _CHUNK_BYTES))
    ]


def _read(part: _Part) -> Iterator[bytes]:
    """Exactly its size: what has become shorter meanwhile is filled up, and its hash will tell."""
    left = part.size
    with part.path.open("rb") as stream:
        stream.seek(part.offset)
        while left:
            data = stream.read(min(left, _READ_BYTES)) or bytes(min(left, _READ_BYTES))
            left -= len(data)
            yield data


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.USTAR_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _sizes(listing: str) -> dict[str, int]:
    """Name and size of each plain file in what ``ls -ln`` prints."""
    sizes = {}
    for line in listing.splitlines():
        fields = line.split()
        if line.startswith("-") and len(fields) >= 8 and fields[4].isdigit():
            sizes[fields[-1]] = int(fields[4])
    return sizes
