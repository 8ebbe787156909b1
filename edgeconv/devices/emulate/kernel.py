"""Kernel and initramfs: Debian's cloud kernel, and the few modules and commands that get from it to the disk."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

from edgeconv.devices.emulate.cache import build_once, content_key
from edgeconv.devices.emulate.cpio import write_initramfs
from edgeconv.errors import DeviceError

__all__ = ["Kernel", "build_kernel"]

# In the order of their dependencies; one that is built into the kernel is not there as a file.
_MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_mmio"),
    *("virtio_blk", "failover", "net_failover", "virtio_net"),
)
# A real board's device tree names the board; QEMU's says "linux,dummy-virt", which stays as the last word.
_INIT = f"""#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for m in {" ".join(_MODULES)}; do [ -f /modules/$m.ko ] && $b insmod /modules/$m.ko; done
i=0
while [ ! -b /dev/vda ] && [ $i -lt 100 ]; do $b sleep 0.1; i=$((i+1)); done
$b mount -t ext4 /dev/vda /root || {{ echo "edgeconv: the disk cannot be mounted"; $b poweroff -f; }}
$b ip link set lo up
$b ip link set eth0 up
$b ip addr add 10.0.2.15/24 dev eth0
$b ip route add default via 10.0.2.2
for word in $($b cat /proc/cmdline); do case $word in edgeconv.board=*) board=${{word#*=}} ;; esac; done
for name in model compatible; do
  [ -f /root/boards/$board/$name ] && $b mount --bind /root/boards/$board/$name /sys/firmware/devicetree/base/$name
done
for fs in dev proc sys; do $b mount --move /$fs /root/$fs; done
[ -e /root/sbin/init ] && init=/sbin/init || init=/init
exec $b switch_root /root $init
"""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """Files that QEMU boots."""

    image: Path
    initrd: Path


def build_kernel(tree: Path, *, rebuild: bool) -> Kernel:
    """The kernel of an arm64 tree with our initramfs, from the cache when it was made before."""

    def build(directory: Path) -> None:
        images = sorted((tree / "boot").glob("vmlinuz-*"))
        if not images:
            raise DeviceError(f"{tree} holds no kernel.", "Build the tree again: edgeconv devices emulate --rebuild.")
        image = images[-1].read_bytes()
        (directory / "vmlinuz").write_bytes(gzip.decompress(image) if image.startswith(b"\x1f\x8b") else image)
        (directory / "initrd.gz").write_bytes(_initramfs(tree))

    directory = build_once("kernel", content_key(tree.name, Path(__file__)), build, rebuild=rebuild)
    return Kernel(directory / "vmlinuz", directory / "initrd.gz")


def _initramfs(tree: Path) -> bytes:
    files = {"init": _INIT.encode(), "bin/busybox": (tree / "bin/busybox").read_bytes()}
    for module in (tree / "lib/modules").rglob("*.ko"):
        if module.stem in _MODULES:
            files[f"modules/{module.name}"] = module.read_bytes()
    return write_initramfs(files, ("dev", "proc", "sys", "root"))
