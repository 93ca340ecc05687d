"""When each target is next due: each has a grid of times that never drifts, and jitter around it. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from random import Random
from typing import Final, Generic, TypeVar

JITTER: Final = 0.02
"""Of the interval, to either side: enough to fall out of step with other periodic work on a node."""

FIRST_ROUND: Final = 0.25
"""Of the interval: a new item is first due within it, so that it soon has samples; after that the grid holds."""

Item = TypeVar("Item")


class Schedule(Generic[Item]):
    """Items that are due once in each interval. All times are nanoseconds of one clock.

    After its first time, the n-th time of an item is its first grid point plus n intervals, plus jitter that the
    next time does not inherit. Grid points that passed without a call of `due` are skipped and counted: no burst
    catches up.
    """

    def __init__(self, interval_ns: int, random: Random, jitter: float = JITTER) -> None:
        self._interval_ns = interval_ns
        self._jitter_ns = int(jitter * interval_ns)
        self._random = random
        self._heap: list[tuple[int, int, int, Item]] = []  # due, tie-breaker, grid point, item
        self._removed: set[int] = set()
        self._tickets: dict[Item, int] = {}  # of its entry in the heap
        self._next_ticket = 0

    def add(self, item: Item, now_ns: int, phase: float) -> None:
        """Make `item` due early in the coming interval, then at `phase` (0 to 1) of each that follows."""
        grid_ns = now_ns + int(phase * self._interval_ns)
        self._push(item, now_ns + int(phase * FIRST_ROUND * self._interval_ns), grid_ns)

    def remove(self, item: Item) -> None:
        """Stop `item` from being due."""
        self._removed.add(self._tickets.pop(item))

    def next_due_ns(self) -> int | None:
        """Return when the next item is due; None when there is none."""
        self._drop_removed()
        return self._heap[0][0] if self._heap else None

    def due(self, now_ns: int) -> Iterator[tuple[Item, int, int]]:
        """Yield each item that is due, when it was, and how many grid points it skips; schedule its next time."""
        while True:
            self._drop_removed()
            if not self._heap or self._heap[0][0] > now_ns:
                return
            due_ns, _, grid_ns, item = heapq.heappop(self._heap)
            # to the first point whose time, jitter included, is still to come
            skipped = max((now_ns + self._jitter_ns - grid_ns) // self._interval_ns, 0)
            grid_ns += (skipped + 1) * self._interval_ns
            self._push(item, grid_ns + self._random.randint(-self._jitter_ns, self._jitter_ns), grid_ns)
            yield item, due_ns, skipped

    def _push(self, item: Item, due_ns: int, grid_ns: int) -> None:
        self._next_ticket += 1
        self._tickets[item] = self._next_ticket
        heapq.heappush(self._heap, (due_ns, self._next_ticket, grid_ns, item))

    def _drop_removed(self) -> None:
        while self._heap and self._heap[0][1] in self._removed:
            self._removed.discard(self._heap[0][1])
            heapq.heappop(self._heap)
