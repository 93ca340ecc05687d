"""What bench/diagnosis varies: kinds, severities and sizes of faults, and how tables are grouped by them."""

from __future__ import annotations

from collections.abc import Iterable

from bench.diagnosis_faults import KINDS, Mode
from bench.diagnosis_trial import Setting

SIZE, DEGREE = 100, 16
LOSSES = (0.01, 0.02, 0.05, 0.2, 0.5, 1.0)
FACTORS = (1.2, 1.5, 2.0, 3.0, 10.0)
LARGE_TAKES = 112  # times fewer days for 1,000 nodes
STARVED = (Mode.LOSS, 0.3)
SIZES = (
    (3, 2),
    (4, 3),
    (5, 4),
    (6, 5),
    (9, 8),
    (10, 8),
    (30, 16),
    (30, 8),
    (30, 29),
    (100, 8),
    (100, 16),
    (100, 32),
    (100, 99),
    (1000, 8),
    (1000, 16),
    (1000, 32),
)
QUIET = ((20, 19), (SIZE, DEGREE), (1000, 32))
SIZED_KINDS = ("node out", "node both", "node stack", "pair both", "zone pair", "two nodes")


def key(setting: Setting, by: str) -> tuple[int | float | str, ...]:
    """Return what settings are grouped by, in an order to be printed."""
    if by == "severity":
        return setting.mode.value, setting.severity
    if by == "nodes, K":
        return setting.size, setting.degree
    return KINDS.index(setting.kind), setting.kind, setting.mode.value


def text_of(value: tuple[int | float | str, ...]) -> str:
    match value:
        case (Mode.LOSS, float(severity)):
            return f"loss {severity:.0%}"
        case (Mode.LATENCY, float(severity)):
            return f"x {severity:g}"
        case (int(), str(kind), str(mode)):
            return f"{kind}, {mode}"
        case _:
            return ", ".join(map(str, value))


def modes(kind: str, losses: Iterable[float], factors: Iterable[float]) -> list[tuple[Mode, float]]:
    """Return the modes and severities of a kind of fault."""
    if kind == "starved agent":
        return [STARVED]
    return [(Mode.LOSS, loss) for loss in losses] + [(Mode.LATENCY, factor) for factor in factors]
