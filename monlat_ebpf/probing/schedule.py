"""When each target is next due: each has a grid of times that never drifts, and jitter around it. Pure.

Times are counted in ticks: what is due within one tick comes together. A thread that sends to many targets then wakes
up once for several of them, which costs less than half of what it would.
"""

from __future__ import annotations

import heapq
from collections import deque
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
    next time does not inherit, rounded down to a tick. Ticks have jitter, too. An item has none of its own if ticks are
    longer than it: near the end of a tick, it would make the item come a whole tick too soon or too late. Grid points
    that passed without a call of `due` are skipped and counted: no burst catches up.
    """

    def __init__(self, interval_ns: int, random: Random, jitter: float = JITTER, tick_ns: int = 1) -> None:
        self._interval_ns = interval_ns
        self._jitter_ns = int(jitter * interval_ns)
        self._random = random.random
        self._tick_ns = tick_ns
        self._ticks: list[tuple[int, int]] = []  # a heap: when, and the tick, a key of _due
        self._due: dict[int, deque[tuple[int, Item]]] = {}  # by tick: grid point and item
        self._tick_of: dict[Item, int] = {}

    def add(self, item: Item, now_ns: int, phase: float) -> None:
        """Make `item` due early in the coming interval, then at `phase` (0 to 1) of each that follows."""
        grid_ns = now_ns + int(phase * self._interval_ns)
        self._push(item, now_ns + int(phase * FIRST_ROUND * self._interval_ns), grid_ns)

    def remove(self, item: Item) -> None:
        """Stop `item` from being due."""
        entries = self._due[self._tick_of.pop(item)]
        entries.remove(next(entry for entry in entries if entry[1] == item))

    def set_tick(self, tick_ns: int) -> None:
        """Count in ticks of that length from now on."""
        if tick_ns == self._tick_ns:
            return
        ticks, due = self._ticks, self._due
        self._tick_ns, self._ticks, self._due = tick_ns, [], {}
        for due_ns, tick in ticks:
            for grid_ns, item in due[tick]:
                self._push(item, due_ns, grid_ns)

    def next_due_ns(self) -> int | None:
        """Return when the next item is due; None when there is none."""
        while self._ticks and not self._due[self._ticks[0][1]]:
            del self._due[heapq.heappop(self._ticks)[1]]
        return self._ticks[0][0] if self._ticks else None

    def due(self, now_ns: int) -> Iterator[tuple[Item, int, int]]:
        """Yield each item that is due, when it was, and how many grid points it skips; schedule its next time."""
        interval_ns, jitter_ns, tick_ns = self._interval_ns, self._jitter_ns, self._tick_ns
        random, of_tick, tick_of = self._random, self._due, self._tick_of
        spread_ns = 2 * jitter_ns if tick_ns <= jitter_ns else 0  # of an item
        while (due_ns := self.next_due_ns()) is not None and due_ns <= now_ns:
            entries = of_tick[self._ticks[0][1]]
            while entries:
                grid_ns, item = entries.popleft()
                # to the first point whose time, jitter included, is still to come
                skipped = (now_ns + jitter_ns - grid_ns) // interval_ns
                if skipped < 0:
                    skipped = 0
                grid_ns += (skipped + 1) * interval_ns
                tick = (grid_ns + int((random() - 0.5) * spread_ns) if spread_ns else grid_ns) // tick_ns
                if tick not in of_tick:
                    self._add_tick(tick)
                of_tick[tick].append((grid_ns, item))
                tick_of[item] = tick
                yield item, due_ns, skipped

    def _push(self, item: Item, due_ns: int, grid_ns: int) -> None:
        tick = due_ns // self._tick_ns
        if tick not in self._due:
            self._add_tick(tick)
        self._due[tick].append((grid_ns, item))
        self._tick_of[item] = tick

    def _add_tick(self, tick: int) -> None:
        self._due[tick] = deque()
        later_ns = int(self._random() * min(self._tick_ns - 1, self._jitter_ns))
        heapq.heappush(self._ticks, (tick * self._tick_ns + later_ns, tick))
