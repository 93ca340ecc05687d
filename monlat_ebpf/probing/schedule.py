"""When each target is next due: a grid for each target that never drifts, and jitter around it. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from random import Random
from typing import Final, Generic, TypeVar

JITTER: Final = 0.02
"""Of the interval, to either side: enough to break step with whatever else is periodic on a node."""

FIRST_ROUND: Final = 0.25
"""Of the interval: a new item comes within it, so that the first figures are there soon; then the grid holds."""

Item = TypeVar("Item")


class Schedule(Generic[Item]):
    """Items that come due once an interval. All times are nanoseconds of one clock.

    But for the first, the n-th time of an item is its first grid point plus n intervals, plus jitter that the
    next time does not inherit. Points that passed while nobody asked are left out, never made up for in a burst.
    """

    def __init__(self, interval_ns: int, random: Random) -> None:
        self._interval_ns = interval_ns
        self._spread_ns = int(JITTER * interval_ns)
        self._random = random
        self._heap: list[tuple[int, int, int, Item]] = []  # due, tie-breaker, grid point, item
        self._gone: set[int] = set()
        self._tickets: dict[Item, int] = {}  # of its entry in the heap
        self._next_ticket = 0

    def add(self, item: Item, now_ns: int, phase: float) -> None:
        """Make `item` due early in the coming interval, then at `phase` (0 to 1) of each that follows."""
        grid_ns = now_ns + int(phase * self._interval_ns)
        self._push(item, now_ns + int(phase * FIRST_ROUND * self._interval_ns), grid_ns)

    def remove(self, item: Item) -> None:
        """Make `item` due no more."""
        self._gone.add(self._tickets.pop(item))

    def next_due_ns(self) -> int | None:
        """Return when the next item is due; None when there is none."""
        self._drop_gone()
        return self._heap[0][0] if self._heap else None

    def due(self, now_ns: int) -> Iterator[tuple[Item, int]]:
        """Yield the items that are due, each once, with the time at which they were, and schedule them anew."""
        while True:
            self._drop_gone()
            if not self._heap or self._heap[0][0] > now_ns:
                return
            due_ns, _, grid_ns, item = heapq.heappop(self._heap)
            # to the first point whose time, jitter included, is still to come
            missed = max((now_ns + self._spread_ns - grid_ns) // self._interval_ns, 0)
            grid_ns += (missed + 1) * self._interval_ns
            self._push(item, grid_ns + self._random.randint(-self._spread_ns, self._spread_ns), grid_ns)
            yield item, due_ns

    def _push(self, item: Item, due_ns: int, grid_ns: int) -> None:
        self._next_ticket += 1
        self._tickets[item] = self._next_ticket
        heapq.heappush(self._heap, (due_ns, self._next_ticket, grid_ns, item))

    def _drop_gone(self) -> None:
        while self._heap and self._heap[0][1] in self._gone:
            self._gone.discard(self._heap[0][1])
            heapq.heappop(self._heap)
