"""What of Debian's Python and of the wheels goes into a pack: all that the agent and the runtimes load, little else."""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Iterable
from pathlib import Path

__all__ = ["copy_standard_library", "prune_site"]

_LIBRARY_WITHOUT = {
    *("__pycache__", "_distutils_hack", "config-*", "curses", "dbm", "distutils", "ensurepip", "idlelib", "lib2to3"),
    *("pydoc_data", "sqlite3", "test", "tkinter", "turtle*", "venv", "wsgiref", "xmlrpc", "EXTERNALLY-MANAGED"),
    *("lib-dynload/" + name for name in ("_bz2*", "_codecs_*", "_crypt*", "_curses*", "_dbm*", "_gdbm*", "_hashlib*")),
    *("lib-dynload/" + name for name in ("_lzma*", "_sqlite3*", "_ssl*", "_test*", "_tkinter*", "_uuid*", "_xx*")),
    *("lib-dynload/" + name for name in ("audioop*", "nis*", "ossaudiodev*", "readline*", "xx*")),
}
# Of wheels: tests, headers, type stubs, static libraries, and what only converters and other delegates use.
_NAMES_WITHOUT = ("tests", "testing", "__pycache__", "include", "*.pyi", "*.a", "*.h", "*.hpp", "*.cmake", "*.pxd")
_SITE_WITHOUT = (
    *("numpy/f2py", "numpy/distutils", "numpy/doc"),
    *("onnxruntime/transformers", "onnxruntime/quantization", "onnxruntime/tools", "onnxruntime/datasets"),
    "onnxruntime/capi/libonnxruntime.so*",  # a second copy, for C programs; Python's module has its own
    *("ai_edge_litert/aot", "ai_edge_litert/tools", "ai_edge_litert/libLiteRtWebGpuAccelerator.so"),
    *("openvino/tools", "openvino/frontend/pytorch", "openvino/frontend/tensorflow", "openvino/frontend/jax"),
)
_KEEP = ("numpy/testing",)  # imported by numpy.lib on some versions


def copy_standard_library(source: Path, destination: Path) -> None:
    """Copy `lib/python3.N` without what the agent never imports."""

    def ignored(folder: str, names: list[str]) -> set[str]:
        relative = Path(folder).relative_to(source).as_posix()
        prefix = "" if relative == "." else relative + "/"
        unwanted = {n for n in names if any(fnmatch.fnmatch(p, w) for p in (n, prefix + n) for w in _LIBRARY_WITHOUT)}
        return unwanted | {n for n in names if _leads_out(Path(folder, n))}

    # Links are followed: not every file system of a device has them.
    shutil.copytree(source, destination, ignore=ignored)


def prune_site(site: Path) -> None:
    """Remove from unpacked wheels what no inference needs."""
    kept = {site / name for name in _KEEP}
    unwanted = {path for pattern in _SITE_WITHOUT for path in site.glob(pattern)}
    unwanted |= {path for pattern in _NAMES_WITHOUT for path in site.rglob(pattern)} - kept
    _remove(sorted(unwanted))


def _leads_out(path: Path) -> bool:
    """Whether it is a link to nothing, or from the root of its system: here that would be a file of this machine."""
    return path.is_symlink() and (path.readlink().is_absolute() or not path.exists())


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
