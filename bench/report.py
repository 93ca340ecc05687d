"""The end of every benchmark: quantiles, a table, and claims that hold or fail."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(samples: Sequence[int], q: float) -> int:
    """Return the q-quantile by nearest rank: the least sample that at least the part q does not exceed."""
    return sorted(samples)[max(math.ceil(q * len(samples)), 1) - 1]


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as they need to be, the first to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("   ".join([row[0].ljust(widths[0]), *cells]), flush=True)


class Claims:
    """Limits on the results of a benchmark; `exit_status` is 1 when one does not hold."""

    def __init__(self) -> None:
        self.exit_status = 0

    def check(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """Print whether `value` is below `limit`, and remember when it is not."""
        holds = value < limit
        print(f"{'ok' if holds else 'FAILED':6} {what}: {value:.2f}{unit}, claimed under {limit:g}{unit}")
        if not holds:
            self.exit_status = 1
