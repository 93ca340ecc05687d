"""Which indexes of a table are free. The lowest is taken first, so that little of the table is ever touched. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final

REST_NS: Final = 1_000_000_000
"""How long an index stays unused after it was given back: another processor may be about to write to its memory."""


class IndexPool:
    """The free indexes below `count`. Times are nanoseconds of one clock."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count))  # a heap
        self._resting: deque[tuple[int, int]] = deque()  # when it was given back, index

    def take(self, now_ns: int) -> int:
        """Return the lowest index that has rested, or else the one that has rested longest. Raises IndexError."""
        while self._resting and self._resting[0][0] + REST_NS <= now_ns:
            heapq.heappush(self._free, self._resting.popleft()[1])
        return heapq.heappop(self._free) if self._free else self._resting.popleft()[1]

    def give_back(self, index: int, now_ns: int) -> None:
        """Make `index` free again."""
        self._resting.append((now_ns, index))
