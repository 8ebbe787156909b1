"""The Android-like guest: what a phone looks like to someone with adb, as far as a program without Android's own
libraries can tell. Android's shell (mksh) and static tools, user 2000, /data/local/tmp, nothing in /lib, no /tmp.

It is not Android: there is no bionic, no SELinux, no dumpsys, and of the properties only those that are written here.
"""

from __future__ import annotations

import shutil
import socket
import tarfile
from pathlib import Path

from edgeconv.devices.emulate.adbd.protocol import AUTH, CNXN, MAX_DATA, VERSION, ProtocolError, Wire
from edgeconv.devices.emulate.boards import BOARDS
from edgeconv.devices.emulate.cache import Progress, build_once, content_key
from edgeconv.devices.emulate.disk import make_disk, write_file
from edgeconv.devices.emulate.tools import require_tools

__all__ = ["build_android", "greets_adb"]

_SHELL_UID = 2000
_DISK_MIB = 4096  # sparse: 70 MB are used
_TOOLS = (
    *(
        "awk",
        "basename",
        "cat",
        "chmod",
        "chown",
        "cmp",
        "cp",
        "cut",
        "date",
        "dd",
        "df",
        "dirname",
        "du",
        "echo",
        "env",
    ),
    *(
        "expr",
        "false",
        "find",
        "free",
        "getconf",
        "grep",
        "gunzip",
        "gzip",
        "head",
        "hostname",
        "id",
        "kill",
        "ln",
        "ls",
    ),
    *("md5sum", "mkdir", "mktemp", "mount", "mv", "nohup", "nproc", "od", "pgrep", "pidof", "pkill", "printf", "ps"),
    *("pwd", "readlink", "realpath", "rm", "rmdir", "sed", "seq", "setsid", "sha1sum", "sha256sum", "sleep", "sort"),
    *(
        "split",
        "stat",
        "sync",
        "tail",
        "tar",
        "taskset",
        "tee",
        "test",
        "timeout",
        "touch",
        "tr",
        "true",
        "tty",
        "uname",
    ),
    *("uniq", "unlink", "uptime", "usleep", "wc", "which", "whoami", "xargs", "xxd"),
)
_ENVIRONMENT = (
    "PATH=/system/bin ANDROID_ROOT=/system ANDROID_DATA=/data HOME=/ USER=shell LOGNAME=shell SHELL=/system/bin/sh"
)
_PROPERTIES = {
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.cpu.abilist": "arm64-v8a",
    "ro.product.cpu.abilist32": "",
    "ro.product.cpu.abilist64": "arm64-v8a",
    "ro.product.device": "emu64a",
    "ro.product.manufacturer": "edgeconv",
    "ro.product.model": BOARDS["android"].model,
    "ro.product.name": "emu64a",
}
_GETPROP = """\
#!/system/bin/sh
if [ $# -eq 0 ]; then exec sed 's/^\\([^=]*\\)=\\(.*\\)$/[\\1]: [\\2]/' /system/build.prop; fi
found=$(grep "^$1=" /system/build.prop) && echo "${found#*=}" || echo "$2"
"""
# busybox is process 1: it reaps orphans and starts adbd again should that end. adbd has a Python of its own, which
# programs of the shell's user cannot see.
_INITTAB = "::respawn:/adbd/start\n"
_START = """\
#!/system/bin/sh
export PATH=/system/bin TMPDIR=/adbd/tmp PYTHONDONTWRITEBYTECODE=1
exec sh /adbd/prefix/run -m adbd --listen 0.0.0.0 --port 5555 --root / --uid {uid} \\
  --shell '/system/bin/env -i {environment} /system/bin/sh' --reboot '/system/bin/busybox reboot -f' \\
  --writable /data/local/tmp --writable /sdcard {properties}
"""
_IDENTITY = b"host::\0"  # what an adb server calls itself


def build_android(tree: Path, progress: Progress, rebuild: bool) -> Path:
    """The folder with the guest's `disk.img`, from the cache when it is there.

    Raises:
        DeviceError: a tool is missing or failed.
    """
    from edgeconv.devices.pack import cached_pack

    require_tools("mke2fs", "debugfs")
    pack = cached_pack("aarch64", (), progress)
    here = Path(__file__)
    sources = [here, *(here.with_name(name) for name in ("disk.py", "boards.py")), *(here.parent / "adbd").glob("*.py")]

    def build(directory: Path) -> None:
        progress("making the Android-like disk")
        root = directory / "root"
        _lay_out(root, tree)
        _install_adbd(root, pack)
        make_disk(root, directory / "disk.img", _DISK_MIB, {"data/local/tmp": _SHELL_UID, "sdcard": _SHELL_UID})
        shutil.rmtree(root)

    return build_once("android", content_key(tree.name, pack, *sorted(sources)), build, rebuild=rebuild)


def greets_adb(connection: socket.socket) -> bool:
    """Whether an adb server's first message is answered by a request to authenticate."""
    wire = Wire(connection)
    wire.send(CNXN, VERSION, MAX_DATA, _IDENTITY)
    try:
        return wire.receive().command == AUTH
    except (EOFError, ProtocolError):
        return False


def _lay_out(root: Path, tree: Path) -> None:
    for path in ("system/bin", "system/etc", "data/local/tmp", "sdcard", "proc", "sys", "dev", "mnt", "adbd/tmp"):
        (root / path).mkdir(parents=True)
    (root / "data/local/tmp").chmod(0o771)
    write_file(root, "system/bin/busybox", (tree / "bin/busybox").read_bytes(), 0o755)
    write_file(root, "system/bin/sh", (tree / "usr/lib/aarch64-linux-musl/bin/mksh").read_bytes(), 0o755)
    for tool in _TOOLS:
        (root / "system/bin" / tool).symlink_to("busybox")
    (root / "etc").symlink_to("/system/etc")
    (root / "init").symlink_to("/system/bin/busybox")
    write_file(root, "system/bin/getprop", _GETPROP, 0o755)
    write_file(root, "system/build.prop", "".join(f"{name}={value}\n" for name, value in _PROPERTIES.items()))
    write_file(root, "system/etc/inittab", _INITTAB)


def _install_adbd(root: Path, pack: Path) -> None:
    home = root / "adbd"
    with tarfile.open(pack) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not in every patch release of 3.10 and 3.11
        archive.extractall(home / "prefix")
    ours = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(__file__).parent / "adbd", home / "prefix/site/adbd", ignore=ours)
    told = ("ro.product.name", "ro.product.model", "ro.product.device")
    properties = " ".join(f"--property '{name}={_PROPERTIES[name]}'" for name in told)
    start = _START.format(uid=_SHELL_UID, environment=_ENVIRONMENT, properties=properties)
    write_file(root, "adbd/start", start, 0o700)
    home.chmod(0o700)
