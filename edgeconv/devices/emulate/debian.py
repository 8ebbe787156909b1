"""The Debian guest: what a Raspberry Pi or a Jetson looks like to someone who logs in over SSH."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

from edgeconv.devices.emulate.boards import BOARDS
from edgeconv.devices.emulate.cache import Progress, build_once, content_key
from edgeconv.devices.emulate.disk import copy_tree, make_disk, write_file
from edgeconv.devices.emulate.keys import make_key
from edgeconv.devices.emulate.tools import require_tools

__all__ = ["USER", "build_debian", "greets_ssh"]

USER = "pi"
_UID = 1000
_DISK_MIB = 4096  # sparse: 150 MB are used
_OTHER_USERS = f"sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n{USER}:x:{_UID}:{_UID}::/home/{USER}:/bin/bash\n"
_SSHD_CONFIG = """\
UsePAM no
KexAlgorithms curve25519-sha256,ecdh-sha2-nistp256
PermitRootLogin prohibit-password
PasswordAuthentication no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
"""
# busybox is process 1: it reaps orphans, reboots, and starts sshd again if that is killed.
_INITTAB = "::sysinit:/sbin/edgeconv-setup\n::respawn:/usr/sbin/sshd -D -e\n::ctrlaltdel:/bin/busybox reboot\n"
_SETUP = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
for word in $(cat /proc/cmdline); do case $word in edgeconv.board=*) board=${word#*=} ;; esac; done
hostname "$board"
[ -d "/boards/$board/etc" ] && cp -r "/boards/$board/etc/." /etc/
"""
# As it stands on a Jetson Orin Nano with JetPack 6.2.1 (L4T R36.4.7).
_NV_TEGRA_RELEASE = """\
# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64, DATE: Thu Sep 18 22:54:44 UTC 2025
# KERNEL_VARIANT: oot
TARGET_USERSPACE_LIB_DIR=nvidia
TARGET_USERSPACE_LIB_DIR_PATH=usr/lib/aarch64-linux-gnu/nvidia
"""
_BOARD_FILES = {"orin": {"etc/nv_tegra_release": _NV_TEGRA_RELEASE}}


def build_debian(tree: Path, progress: Progress, rebuild: bool) -> Path:
    """The folder with the guest's `disk.img`, `id_ed25519` and `host_key.pub`, from the cache when it is there.

    Raises:
        DeviceError: a tool is missing or failed.
    """
    require_tools("mke2fs", "debugfs", "ssh-keygen")
    sources = [Path(__file__).with_name(name) for name in ("debian.py", "disk.py", "boards.py")]

    def build(directory: Path) -> None:
        progress("making the Debian disk")
        root = directory / "root"
        copy_tree(tree, root)
        shutil.rmtree(root / "boot")  # QEMU is given the kernel
        _configure(root)
        authorized = make_key(directory / "id_ed25519", "edgeconv-emulated")
        public = make_key(directory / "host_key", "edgeconv-emulated-host")
        write_file(root, "etc/ssh/ssh_host_ed25519_key", (directory / "host_key").read_bytes(), 0o600)
        write_file(root, "etc/ssh/ssh_host_ed25519_key.pub", public)
        for home in (f"home/{USER}", "root"):
            write_file(root, f"{home}/.ssh/authorized_keys", authorized, 0o600)
            (root / home / ".ssh").chmod(0o700)
        make_disk(root, directory / "disk.img", _DISK_MIB, {f"home/{USER}": _UID})
        (directory / "host_key").unlink()
        shutil.rmtree(root)

    return build_once("debian", content_key(tree.name, *sources), build, rebuild=rebuild)


def greets_ssh(connection: socket.socket) -> bool:
    """Whether an SSH server speaks first, as they do."""
    return connection.recv(4) == b"SSH-"


def _configure(root: Path) -> None:
    """What the maintainer scripts would have done, as far as a login, Python and an agent need it."""
    for path in ("proc", "sys", "dev", "tmp", "run", "var/log", "boards"):
        (root / path).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    passwd = (root / "usr/share/base-passwd/passwd.master").read_text().replace(":*:", ":x:") + _OTHER_USERS
    group = (root / "usr/share/base-passwd/group.master").read_text() + f"{USER}:x:{_UID}:\n"
    write_file(root, "etc/passwd", passwd)
    write_file(root, "etc/group", group)
    # "*" is no password at all, which sshd lets in by key; "!" would be a locked account
    write_file(root, "etc/shadow", re.sub(r"^([^:]*):.*$", r"\1:*:19000:0:99999:7:::", passwd, flags=re.M), 0o640)
    write_file(root, "etc/hosts", "127.0.0.1 localhost\n")
    write_file(root, "etc/hostname", "board\n")
    write_file(root, "etc/resolv.conf", "")
    write_file(root, "etc/fstab", "")
    write_file(root, "etc/ssh/sshd_config", _SSHD_CONFIG)
    write_file(root, "etc/inittab", _INITTAB)
    write_file(root, "sbin/edgeconv-setup", _SETUP, 0o755)
    for link, target in (("usr/bin/awk", "gawk"), ("sbin/init", "/bin/busybox")):
        (root / link).unlink(missing_ok=True)
        (root / link).symlink_to(target)
    for board in (board for board in BOARDS.values() if board.system == "debian" and not board.deterministic):
        compatible = (*board.compatible, "linux,dummy-virt")
        write_file(root, f"boards/{board.hardware}/model", f"{board.model}\0")
        write_file(root, f"boards/{board.hardware}/compatible", "".join(f"{name}\0" for name in compatible))
        for path, content in _BOARD_FILES.get(board.name, {}).items():
            write_file(root, f"boards/{board.hardware}/{path}", content)
