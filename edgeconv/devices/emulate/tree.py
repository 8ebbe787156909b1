"""The file tree of an arm64 Debian system, unpacked from its packages without running one arm64 instruction.

`mmdebstrap --variant=extract` resolves, downloads and verifies the packages (apt's signatures) and unpacks them; the
maintainer scripts do not run, so `image` does what a board needs of them. The kernel is one of the packages. The tree
is also what packs for devices without Python are cut from.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from edgeconv.devices.emulate.cache import Progress, build_once, content_key
from edgeconv.devices.emulate.tools import run_tool

__all__ = ["SUITE", "arm64_tree", "host_mirror", "library_directories"]

SUITE = "bookworm"  # what Raspberry Pi OS was when this was written: Python 3.11, glibc 2.36
PACKAGES = (
    # the system and its shell
    *(
        "base-files",
        "base-passwd",
        "libc-bin",
        "bash",
        "dash",
        "coreutils",
        "findutils",
        "grep",
        "sed",
        "gawk",
        "tar",
        "gzip",
    ),
    *("mount", "procps", "util-linux", "hostname", "iproute2", "dpkg"),
    # how one gets in
    *("openssh-server", "openssh-sftp-server", "ca-certificates"),
    # what an agent needs; the libraries are what wheels expect of a system
    *("python3-minimal", "python3", "python3-venv", "libstdc++6", "libgomp1", "zlib1g", "libexpat1", "libssl3"),
    # initramfs and the Android-like guest
    *("busybox-static", "mksh"),
    # tiny-initramfs stands in for initramfs-tools, which the kernel would bring
    *("linux-image-cloud-arm64", "tiny-initramfs"),
)
_PATHS = (
    *(f"path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale", "info")),
    # perl comes with openssh-server, for scripts that do not run here
    *("path-exclude=/usr/share/perl*", "path-exclude=/usr/lib/*/perl*", "path-exclude=/usr/lib/*/gconv/*"),
    *("path-exclude=/usr/lib/linux-image-*", "path-exclude=/boot/System.map-*", "path-exclude=/lib/modules/*"),
    "path-include=/lib/modules/*/kernel/drivers/virtio/*",
    *(f"path-include=/lib/modules/*/{name}.ko" for name in ("virtio_blk", "virtio_net", "net_failover", "failover")),
)
_APT = ('Apt::Install-Recommends "false"', 'Acquire::Languages "none"')
_DEFAULT_MIRROR = "http://deb.debian.org/debian"  # apt verifies signatures; caching proxies want http
_TIMEOUT_SECONDS = 600.0
_SOURCES = Path("/etc/apt")


def arm64_tree(suite: str = SUITE, *, progress: Progress = lambda stage: None, rebuild: bool = False) -> Path:
    """The unpacked tree (about 200 MB), from the cache when it was made before; about 10 s otherwise.

    Raises:
        DeviceError: a tool is missing, or the packages cannot be fetched.
    """
    key = content_key(suite, *PACKAGES, *_PATHS, *_APT, Path(__file__))

    def build(directory: Path) -> None:
        progress(f"unpacking Debian {suite} for arm64")
        run_tool(_mmdebstrap(suite, directory), timeout_seconds=_TIMEOUT_SECONDS)
        _compile_python(directory)

    return build_once("tree", key, build, rebuild=rebuild)


def library_directories(tree: Path) -> list[Path]:
    """Where shared libraries lie in the tree."""
    return [tree / "lib/aarch64-linux-gnu", tree / "usr/lib/aarch64-linux-gnu"]


def host_mirror(suite: str, sources: Path = _SOURCES) -> str:
    """The mirror this machine gets the same suite from when it runs Debian, so that its network settings apply."""
    if platform.system() == "Linux" and sources.is_dir():
        for path in sorted([*sources.glob("sources.list.d/*.sources"), *sources.glob("sources.list.d/*.list")]):
            if (mirror := _mirror_in(path.read_text(errors="replace"), suite)) is not None:
                return mirror
        listed = sources / "sources.list"
        if listed.is_file() and (mirror := _mirror_in(listed.read_text(errors="replace"), suite)) is not None:
            return mirror
    return _DEFAULT_MIRROR


def _mmdebstrap(suite: str, directory: Path) -> list[str]:
    # Nothing is installed by `extract`, so nothing runs; `chrootless` needs neither root nor user namespaces.
    return [
        *("mmdebstrap", "--quiet", "--mode=chrootless", "--architectures=arm64", "--variant=extract"),
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt={option}" for option in _PATHS),
        *(f"--aptopt={option}" for option in _APT),
        *(suite, str(directory), host_mirror(suite)),
    ]


def _mirror_in(text: str, suite: str) -> str | None:
    """The mirror of `suite` in one file of apt sources, of either format."""
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(http\S+)\s+(\S+)\s+(.*)", line.strip())
        if match and match[2] == suite and "main" in match[3].split():
            return str(match[1])
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
        usable = suite in fields.get("Suites", "").split() and "main" in fields.get("Components", "").split()
        mirrors = [word for word in fields.get("URIs", "").split() if word.startswith("http")]
        if usable and mirrors and fields.get("Enabled", "yes") != "no":
            return str(mirrors[0])
    return None


def _compile_python(tree: Path) -> None:
    """Byte code of the standard library, as its package's script would make it, when this machine has that Python.

    Without it everything works, but each start of Python on the guest compiles what it imports.
    """
    for library in sorted((tree / "usr/lib").glob("python3.*")):
        interpreter = sys.executable if library.name == _this_python() else shutil.which(library.name)
        if interpreter:
            command = [interpreter, "-m", "compileall", "-q", "-j", "0", "-s", str(tree), "-p", "/", str(library)]
            subprocess.run(command, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False)


def _this_python() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"
