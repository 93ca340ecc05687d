"""Which places of a table are free: the lowest first, so that little of it is ever touched. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final

REST_NS: Final = 1_000_000_000
"""Before a place is used again: the kernel program may be about to write to it on another processor."""


class IndexPool:
    """The free ones of `count` places. Times are nanoseconds of one clock."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count))  # a heap
        self._resting: deque[tuple[int, int]] = deque()  # when it was given back, place

    def take(self, now_ns: int) -> int:
        """Return the lowest place that has rested, or else the one that has rested longest. Raises IndexError."""
        while self._resting and self._resting[0][0] + REST_NS <= now_ns:
            heapq.heappush(self._free, self._resting.popleft()[1])
        return heapq.heappop(self._free) if self._free else self._resting.popleft()[1]

    def give_back(self, place: int, now_ns: int) -> None:
        """Make `place` free again."""
        self._resting.append((now_ns, place))
