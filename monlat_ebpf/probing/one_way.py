"""What two clocks that nobody synchronised still tell of each direction: pure.

From the four instants of an exchange come, as in NTP's on-wire protocol (RFC 5905, section 8) and STAMP
(RFC 8762), the offset of the peer's clock, ((t2 - t1) + (t3 - t4)) / 2, and the time that the network took,
(t4 - t1) - (t3 - t2). If both directions were equally slow, the offset would be exact; whatever they were, it is
wrong by half their difference and so by no more than half the network RTT. The exchange with the least network
RTT bounds it best, so that one of a window speaks for all; but clocks drift apart, and what was known grows less
certain as it grows old (RFC 5905 calls that dispersion). So the one speaks whose bound, age included, is the least.

The split of an RTT into two directions cannot be known without synchronised clocks: a constant difference
between the directions looks just like a clock offset, and shows as a bias of half of it. What can be known is how
much each direction varies: t2 - t1 above its least of the window is time spent in queues on the way there,
t4 - t3 above its least on the way back, as long as neither clock is stepped, and but for what the clocks drift
apart in the window: a part in a million is 60 us, on top in one direction.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from monlat_ebpf.model import ClockOffset, Queueing

WINDOW: Final = 61
"""Exchanges: a minute at one a second."""

DRIFT: Final = 100e-6
"""Seconds a second by which two free-running clocks may drift apart (RFC 5905 takes 15e-6 for a disciplined one)."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The four instants, each in the wall time of where it was taken, nanoseconds."""

    t1: int
    t2: int
    t3: int
    t4: int

    @property
    def network_rtt(self) -> int:
        """RTT without the peer's dwell."""
        return (self.t4 - self.t1) - (self.t3 - self.t2)

    @property
    def offset(self) -> float:
        """The peer's clock minus ours."""
        return ((self.t2 - self.t1) + (self.t3 - self.t4)) / 2

    def error_at(self, t4: int) -> float:
        """Return by how much `offset` may be wrong at a time of our clock."""
        return self.network_rtt / 2 + DRIFT * abs(t4 - self.t4)


class OneWay:
    """The last exchanges with one peer."""

    def __init__(self) -> None:
        self._window: deque[Exchange] = deque(maxlen=WINDOW)

    def add(self, exchange: Exchange) -> None:
        """Take in an exchange. One that the clocks of the window cannot explain is a step, and starts it anew."""
        if self._window and self._is_step(exchange):
            self._window.clear()
        self._window.append(exchange)

    @property
    def last(self) -> Exchange | None:
        """The newest exchange, None before there was one."""
        return self._window[-1] if self._window else None

    def clock_offset(self) -> ClockOffset | None:
        """Return the offset by the exchange that bounds it best as of the newest, None before there was one."""
        if not self._window:
            return None
        now = self._window[-1].t4
        best = min(self._window, key=lambda exchange: exchange.error_at(now))
        return ClockOffset(best.offset, best.error_at(now))

    def queueing(self) -> Queueing | None:
        """Return how much longer than at best each direction of the last exchange took, None before there was one."""
        if not self._window:
            return None
        last = self._window[-1]
        return Queueing(
            (last.t2 - last.t1) - min(each.t2 - each.t1 for each in self._window),
            (last.t4 - last.t3) - min(each.t4 - each.t3 for each in self._window),
        )

    def _is_step(self, exchange: Exchange) -> bool:
        last = self._window[-1]
        allowed = (exchange.network_rtt + last.network_rtt) / 2 + DRIFT * abs(exchange.t1 - last.t1)
        return abs(exchange.offset - last.offset) > allowed
