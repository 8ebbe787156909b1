"""A device for the real adb client: our adbd in a root of its own, where /data/local/tmp is the test's.

Everything else of this machine is mounted there as it is, so what a command finds is a Linux with Python and not an
Android; the Android-like guest under QEMU is for the rest.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
from pathlib import Path

import edgeconv.devices.emulate

_ADBD = Path(edgeconv.devices.emulate.__file__).parent

_ROOT = """\
for entry in /*; do
  name=${entry#/}
  case "$name" in data|proc) continue ;; esac
  if [ -L "$entry" ]; then cp -a "$entry" "$1/$name"; continue; fi
  [ -d "$entry" ] || continue
  mkdir -p "$1/$name" && mount --rbind "$entry" "$1/$name" || exit 1
done
mkdir -p "$1/proc" "$1/data/local/tmp" && mount --rbind /proc "$1/proc" || exit 1
[ -z "$2" ] || mount -t tmpfs -o "$2" tmpfs "$1/data/local/tmp" || exit 1
new=$1; shift 2
exec chroot "$new" "$@"
"""


@dataclasses.dataclass
class AdbDevice:
    """`tools` come first on the PATH of its commands; with `storage` its memory is a tmpfs of these options."""

    directory: Path
    tools: Path | None = None
    storage: str = ""
    auth: str = "accept"
    port: int = 0
    process: subprocess.Popen[str] | None = None

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        return f"adb:{self.serial}"

    @property
    def data(self) -> Path:
        """/data/local/tmp of the device."""
        return self.directory / "root" / "data" / "local" / "tmp"

    def start(self) -> None:
        root = self.directory / "root"
        root.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join(
            [*([str(self.tools)] if self.tools else []), str(Path(sys.executable).parent), "/usr/bin", "/bin"]
        )
        shell = f"env -i PATH={shlex.quote(path)} HOME=/data/local/tmp sh"
        names = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        self.process = subprocess.Popen(
            [
                *(
                    "unshare",
                    *names,
                    "--mount",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "sh",
                    "-c",
                    _ROOT,
                    "sh",
                    str(root),
                    self.storage,
                ),
                *("env", f"PYTHONPATH={_ADBD}", sys.executable, "-m", "adbd", "--root", "/", "--shell", shell),
                *("--auth", self.auth, "--writable", "/data/local/tmp", "--port", str(self.port)),
            ],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().split()[-1])

    def stop(self) -> None:
        """As when it is switched off: everything on it ends."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None
