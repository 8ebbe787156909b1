"""`agent.pyz`: the device agent as one executable file, the same bytes for the same sources."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import edgeconv
from edgeconv.files import ZIP_DATE

__all__ = ["agent_sources", "build_agent"]

_SHEBANG = b"#!/usr/bin/env python3\n"
_PACKAGE = Path(edgeconv.__file__).parent
_MODULES = ("errors.py", "manifest.py", "records.py", "schema.py")
_PACKAGES = ("benchmarks/agent", "runtimes")
_MAIN = """\
import os
import sys

if sys.version_info < (3, 8):
    sys.stderr.write('{"error": "The agent needs Python 3.8 or later, this is %d.%d.", ' % sys.version_info[:2])
    sys.stderr.write('"hint": "Bring a Python along: export the bundle for this board with --with-wheels."}\\n')
    sys.exit(2)


def unpack(folder):
    import shutil
    import tempfile
    import zipfile

    os.makedirs(os.path.dirname(folder), exist_ok=True)
    temporary = tempfile.mkdtemp(dir=os.path.dirname(folder))
    with zipfile.ZipFile(sys.path[0]) as archive:
        archive.extractall(temporary)
    try:
        os.rename(temporary, folder)
    except OSError:  # another process was faster
        shutil.rmtree(temporary)


# Modules in an archive are compiled anew at every start, which takes seconds on a small board.
FOLDER = os.environ.get("EDGECONV_AGENT_FOLDER")
if FOLDER and os.path.isfile(sys.path[0]):
    if not os.path.isdir(FOLDER):
        unpack(FOLDER)
    sys.path[0] = FOLDER

from edgeconv.benchmarks.agent.__main__ import main

sys.exit(main())
"""


def agent_sources() -> list[Path]:
    """The files of edgeconv that run on a device, all of them written for Python 3.8."""
    return [_PACKAGE / name for name in _MODULES] + [
        path for package in _PACKAGES for path in sorted((_PACKAGE / package).rglob("*.py"))
    ]


def build_agent() -> bytes:
    """The zipapp; the package's own `__init__` is left out, for it offers what a device does not have."""
    members = {path.relative_to(_PACKAGE.parent).as_posix(): path.read_bytes() for path in agent_sources()}
    members["__main__.py"] = _MAIN.encode()
    members["edgeconv/__init__.py"] = f'__version__ = "{edgeconv.__version__}"\n'.encode()
    members["edgeconv/benchmarks/__init__.py"] = b""
    buffer = io.BytesIO()
    buffer.write(_SHEBANG)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), members[name], zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()
