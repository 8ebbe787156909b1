"""Energy from power rails.  Part of the device agent: Python 3.8, standard library only."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Tuple

from edgeconv.benchmarks.agent.state.look import Look

__all__ = ["counted_rails", "energy_joules"]

# The rails that hold everything else, by board: Jetson Orin Nano, NX and Xavier NX; Jetson Nano; AGX Orin, where the
# others hang behind the 5 V one.  On any other board all rails are added up.
_TOTALS = (("VDD_IN",), ("POM_5V_IN",), ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"))


def counted_rails(power_watts: Dict[str, float]) -> List[str]:
    """The rails whose sum is what the board draws, as far as its sensors see it."""
    for rails in _TOTALS:
        if all(rail in power_watts for rail in rails):
            return list(rails)
    return sorted(power_watts)


def energy_joules(looks: Sequence[Look], begin_ns: int, end_ns: int) -> Optional[float]:
    """The integral of the power over [begin, end], by trapezoids between the looks that have it.

    None where there is no power sensor, or where the looks do not reach from the begin to the end.
    """
    points = [(look.at_ns, _watts(look.reading.power_watts)) for look in looks if look.reading.power_watts]
    points.sort()
    if len(points) < 2 or begin_ns >= end_ns or points[0][0] > begin_ns or points[-1][0] < end_ns:
        return None
    inside = [(begin_ns, _at(points, begin_ns)), *(p for p in points if begin_ns < p[0] < end_ns)]
    inside.append((end_ns, _at(points, end_ns)))
    return sum((b_ns - a_ns) / 1e9 * (a + b) / 2 for (a_ns, a), (b_ns, b) in zip(inside, inside[1:]))


def _watts(rails: Dict[str, float]) -> float:
    return sum(rails[rail] for rail in counted_rails(rails))


def _at(points: Sequence[Tuple[int, float]], ns: int) -> float:
    """Between the two points around `ns`, on a straight line."""
    for (a_ns, a), (b_ns, b) in zip(points, points[1:]):
        if a_ns <= ns <= b_ns:
            return a if a_ns == b_ns else a + (b - a) * (ns - a_ns) / (b_ns - a_ns)
    return points[-1][1]
