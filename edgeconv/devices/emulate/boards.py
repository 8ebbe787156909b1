"""Which boards can be emulated: data."""

from __future__ import annotations

import dataclasses
import difflib

from edgeconv.errors import DeviceError

__all__ = ["BOARDS", "Board", "board_names", "find_board"]

_DETERMINISTIC = "-deterministic"


@dataclasses.dataclass(frozen=True)
class Board:
    """One board. The instruction set is the real one's; caches, clocks and peripherals are not there.

    `cpu` is QEMU's model of the core, `cores` are the board's (a guest gets no more than the host has), `model` and
    `compatible` are what its device tree says, `system` is "debian" or "android", `profile` the device profile it
    stands in for. A deterministic board has one core whose clock advances by one nanosecond an instruction.
    """

    name: str
    cpu: str
    cores: int
    memory_mib: int
    system: str
    profile: str
    model: str
    compatible: tuple[str, ...]
    deterministic: bool = False

    @property
    def hardware(self) -> str:
        """The name without what says how its clock runs."""
        return self.name.removesuffix(_DETERMINISTIC)

    @property
    def clock(self) -> str:
        """What a latency of it is counted in: "wall" for time, "virtual" for instructions."""
        return "virtual" if self.deterministic else "wall"


# Only models whose results were found right: `-cpu max` gave wrong int8 results in OpenVINO (QEMU 7.2).
_ALL = (
    Board(
        *("pi4", "cortex-a72", 4, 2048, "debian", "raspberry-pi-4"),
        "Raspberry Pi 4 Model B (emulated)",
        ("raspberrypi,4-model-b", "brcm,bcm2711"),
    ),
    Board(
        *("pi5", "cortex-a76", 4, 2048, "debian", "raspberry-pi-5"),
        "Raspberry Pi 5 Model B (emulated)",
        ("raspberrypi,5-model-b", "brcm,bcm2712"),
    ),
    # QEMU has no A78AE, an Orin's core; the A76 has those of its features that kernels are chosen by.
    Board(
        *("orin", "cortex-a76", 6, 2048, "debian", "jetson-orin-nano"),
        "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit (emulated)",
        ("nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"),
    ),
    Board(
        *("android", "cortex-a76", 4, 2048, "android", "android-arm64"),
        "Android-like arm64 (emulated)",
        (),
    ),
)
BOARDS = {
    board.name: board
    for plain in _ALL
    for board in (plain, dataclasses.replace(plain, name=plain.name + _DETERMINISTIC, deterministic=True))
}


def board_names() -> list[str]:
    """The names of all boards."""
    return list(BOARDS)


def find_board(name: str) -> Board:
    """The board of that name.

    Raises:
        DeviceError: there is none (near names are suggested).
    """
    if name not in BOARDS:
        near = difflib.get_close_matches(name, BOARDS, n=2, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(BOARDS)}."
        raise DeviceError(f"No emulated board is called {name!r}.", hint)
    return BOARDS[name]
