"""Systems as files: what `look.sh` reads of a Raspberry Pi, a Jetson, a phone, with their genuine texts."""

from __future__ import annotations

from pathlib import Path

from tests.trees import Tree

SAMPLES = Path(__file__).parents[2] / "benchmarks/agent/samples"
_HEADS = {  # the first 20 bytes of /bin/sh
    "aarch64": b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\xb7\x00",
    "armhf": b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x03\x00\x28\x00",
}
_BANNERS = {
    "2.36": "GNU C Library (Debian GLIBC 2.36-9+rpt2+deb12u7) stable release version 2.36.",
    "2.35": "GNU C Library (Ubuntu GLIBC 2.35-0ubuntu3.8) stable release version 2.35.",
    "2.31": "GNU C Library (Ubuntu GLIBC 2.31-0ubuntu9.9) stable release version 2.31.",
    "2.27": "GNU C Library (Ubuntu GLIBC 2.27-3ubuntu1.6) stable release version 2.27.",
}
_PI_OS = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def linux(tree: Tree, *, kernel: str, machine: str, programs: str = "aarch64", glibc: str = "") -> Tree:
    triple = "aarch64-linux-gnu" if programs == "aarch64" else "arm-linux-gnueabihf"
    tree.put(
        {
            "proc/sys/kernel/ostype": "Linux\n",
            "proc/sys/kernel/osrelease": f"{kernel}\n",
            "proc/sys/kernel/arch": f"{machine}\n",
            "proc/meminfo": "MemTotal:        8245000 kB\nMemAvailable:    7000000 kB\n",
        }
    )
    (tree.root / "bin").mkdir(parents=True, exist_ok=True)
    (tree.root / "bin/sh").write_bytes(_HEADS[programs] + bytes(44))
    if glibc:
        folder = tree.root / "lib" / triple
        folder.mkdir(parents=True)
        (folder / "libc.so.6").write_bytes(b"\x7fELF" + bytes(60) + _BANNERS[glibc].encode() + b"\0\xff")
    return tree


def python(tree: Tree, version: str, packages: dict[str, str], name: str = "python3") -> Tree:
    """A Python that answers the one question of the look."""
    lines = [f"version {version}", *(f"has {package} {found}" for package, found in packages.items())]
    tree.put({f"usr/bin/{name}": "#!/bin/sh\ncat <<'E'\n" + "\n".join(lines) + "\nE\n"})
    (tree.root / "usr/bin" / name).chmod(0o755)
    return tree


def pi_5(tree: Tree) -> Tree:
    linux(tree, kernel="6.6.51+rpt-rpi-2712", machine="aarch64", glibc="2.36")
    tree.put(
        {
            "proc/cpuinfo": sample("cpuinfo-pi5.txt"),
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
            "etc/os-release": _PI_OS,
            "sys/class/thermal/thermal_zone0/temp": "48650\n",
        }
    )
    python(tree, "3.11.2", {"numpy": "1.24.2", "ai-edge-litert": "2.1.0"})
    return tree.tool("vcgencmd", {"get_throttled": "throttled=0x0\n"})


def pi_os_32_bit(tree: Tree) -> Tree:
    """Raspberry Pi OS 32-bit: since 2023 under a 64-bit kernel."""
    linux(tree, kernel="6.6.51+rpt-rpi-v8", machine="aarch64", programs="armhf", glibc="2.36")
    return tree.put(
        {
            "proc/cpuinfo": sample("cpuinfo-pi4-32bit.txt"),
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/device-tree/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0",
            "etc/os-release": _PI_OS.replace("debian", "raspbian"),
        }
    )


def jetpack_6(tree: Tree) -> Tree:
    linux(tree, kernel="5.15.148-tegra", machine="aarch64", glibc="2.35")
    packages = {
        "libnvinfer10": "10.3.0.30-1+cuda12.5",
        "libnvinfer-bin": "10.3.0.30-1+cuda12.5",
        "nvidia-jetpack": "6.2+b77",
    }
    entries = (f"Package: {name}\nStatus: install ok installed\nVersion: {packages[name]}\n" for name in packages)
    status = "\n".join(entries)
    removed = "Package: libnvinfer8\nStatus: deinstall ok config-files\nVersion: 8.5.2-1+cuda11.4\n"
    tree.put(
        {
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
            "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
            "proc/cpuinfo": "processor\t: 0\n"
            "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
            "asimddp uscat ilrcpc flagm paca pacg\n"
            "CPU implementer\t: 0x41\nCPU part\t: 0xd42\n",
            "etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nID=ubuntu\n',
            "etc/nv_tegra_release": sample("nv_tegra_release-r36.txt"),
            "var/lib/dpkg/status": f"{status}\n{removed}",
            "usr/local/cuda/version.json": '{\n  "cuda" : {\n "name" : "CUDA SDK",\n "version" : "12.6.11"\n  }\n}\n',
            "usr/src/tensorrt/bin/trtexec": "#!/bin/sh\n",
        }
    )
    (tree.root / "usr/src/tensorrt/bin/trtexec").chmod(0o755)
    python(tree, "3.10.12", {"numpy": "1.26.4"})
    return tree.tool("nvpmodel", {"-q": sample("nvpmodel-orin-nano.txt")}, folder="usr/sbin")


def jetpack_5(tree: Tree) -> Tree:
    linux(tree, kernel="5.10.120-tegra", machine="aarch64", glibc="2.31")
    tree.put(
        {
            "proc/device-tree/model": "Jetson AGX Orin Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0",
            "etc/os-release": 'PRETTY_NAME="Ubuntu 20.04.6 LTS"\nID=ubuntu\n',
            "etc/nv_tegra_release": sample("nv_tegra_release-r35.txt"),
        }
    )
    return python(tree, "3.8.10", {"numpy": "1.17.4", "onnxruntime": "1.16.3"})


def jetpack_4(tree: Tree) -> Tree:
    linux(tree, kernel="4.9.253-tegra", machine="aarch64", glibc="2.27")
    (tree.root / "proc/sys/kernel/arch").unlink()  # which came with Linux 6.1
    tree.put(
        {
            "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
            "proc/device-tree/compatible": "nvidia,p3450-0000\0nvidia,tegra210\0",
            "etc/os-release": 'PRETTY_NAME="Ubuntu 18.04.6 LTS"\nID=ubuntu\n',
            "etc/nv_tegra_release": sample("nv_tegra_release-r32.txt"),
        }
    )
    return python(tree, "3.6.9", {})


def alpine(tree: Tree) -> Tree:
    linux(tree, kernel="6.6.58-0-rpi", machine="aarch64")
    tree.put(
        {
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/device-tree/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0",
            "etc/os-release": 'PRETTY_NAME="Alpine Linux v3.20"\nID=alpine\n',
            "lib/ld-musl-aarch64.so.1": "",
        }
    )
    return python(tree, "3.12.7", {})


def phone(tree: Tree, abis: str = "arm64-v8a") -> Tree:
    linux(tree, kernel="5.15.110-android14-11", machine="aarch64")
    tree.put({"proc/cpuinfo": sample("cpuinfo-pixel-8.txt"), "system/bin/linker64": ""})
    properties = {
        "ro.build.version.release": "15",
        "ro.build.version.sdk": "35",
        "ro.product.cpu.abilist64": abis,
        "ro.product.device": "shiba",
        "ro.product.manufacturer": "Google",
        "ro.product.model": "Pixel 8",
    }
    answer = "".join(f"[{name}]: [{value}]\n" for name, value in properties.items())
    return tree.tool("getprop", {"": answer}, folder="system/bin")
