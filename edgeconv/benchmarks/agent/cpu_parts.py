"""Names of ARM cores.  Part of the device agent: Python 3.8, standard library only.

Numbers: the MIDR_EL1 description in each core's Technical Reference Manual, as the Linux kernel has them in
arch/arm64/include/asm/cputype.h.
"""

from __future__ import annotations

from typing import Dict, List, Tuple

__all__ = ["core_name", "midr_part", "parts_of_cpuinfo"]

_ARM, _NVIDIA, _QUALCOMM, _APPLE, _SAMSUNG = 0x41, 0x4E, 0x51, 0x61, 0x53
_PARTS: Dict[Tuple[int, int], str] = {
    (_ARM, 0xB76): "ARM1176",
    (_ARM, 0xC07): "Cortex-A7",
    (_ARM, 0xC08): "Cortex-A8",
    (_ARM, 0xC09): "Cortex-A9",
    (_ARM, 0xC0F): "Cortex-A15",
    (_ARM, 0xD01): "Cortex-A32",
    (_ARM, 0xD03): "Cortex-A53",
    (_ARM, 0xD04): "Cortex-A35",
    (_ARM, 0xD05): "Cortex-A55",
    (_ARM, 0xD07): "Cortex-A57",
    (_ARM, 0xD08): "Cortex-A72",
    (_ARM, 0xD09): "Cortex-A73",
    (_ARM, 0xD0A): "Cortex-A75",
    (_ARM, 0xD0B): "Cortex-A76",
    (_ARM, 0xD0C): "Neoverse-N1",
    (_ARM, 0xD0D): "Cortex-A77",
    (_ARM, 0xD40): "Neoverse-V1",
    (_ARM, 0xD41): "Cortex-A78",
    (_ARM, 0xD42): "Cortex-A78AE",
    (_ARM, 0xD44): "Cortex-X1",
    (_ARM, 0xD46): "Cortex-A510",
    (_ARM, 0xD47): "Cortex-A710",
    (_ARM, 0xD48): "Cortex-X2",
    (_ARM, 0xD49): "Neoverse-N2",
    (_ARM, 0xD4B): "Cortex-A78C",
    (_ARM, 0xD4C): "Cortex-X1C",
    (_ARM, 0xD4D): "Cortex-A715",
    (_ARM, 0xD4E): "Cortex-X3",
    (_ARM, 0xD4F): "Neoverse-V2",
    (_ARM, 0xD80): "Cortex-A520",
    (_ARM, 0xD81): "Cortex-A720",
    (_ARM, 0xD82): "Cortex-X4",
    (_ARM, 0xD83): "Neoverse-V3AE",
    (_ARM, 0xD84): "Neoverse-V3",
    (_ARM, 0xD85): "Cortex-X925",
    (_ARM, 0xD87): "Cortex-A725",
    (_NVIDIA, 0x003): "Denver 2",
    (_NVIDIA, 0x004): "Carmel",
    (_QUALCOMM, 0x800): "Kryo 2xx Gold",
    (_QUALCOMM, 0x801): "Kryo 2xx Silver",
    (_QUALCOMM, 0x802): "Kryo 3xx Gold",
    (_QUALCOMM, 0x803): "Kryo 3xx Silver",
    (_QUALCOMM, 0x804): "Kryo 4xx Gold",
    (_QUALCOMM, 0x805): "Kryo 4xx Silver",
}


def core_name(implementer: int, part: int) -> str:
    """Like "Cortex-A76"; numbers where the name is not known."""
    return _PARTS.get((implementer, part), f"implementer 0x{implementer:02x} part 0x{part:03x}")


def midr_part(midr: int) -> Tuple[int, int]:
    """(implementer, part) of the register MIDR_EL1."""
    return midr >> 24 & 0xFF, midr >> 4 & 0xFFF


def parts_of_cpuinfo(text: str) -> List[str]:
    """The kinds of core of /proc/cpuinfo in the order of their first core; [] where it is not ARM's."""
    names: List[str] = []
    implementer = -1
    for line in text.splitlines():
        key, _, value = (word.strip() for word in line.partition(":"))
        if key not in ("CPU implementer", "CPU part"):
            continue
        try:
            number = int(value, 16)
        except ValueError:
            continue
        if key == "CPU implementer":
            implementer = number
        else:
            names.append(core_name(implementer, number))
    return list(dict.fromkeys(names))
