"""What two unsynchronised clocks still tell about each direction. Pure.

Four instants of an exchange give the offset of the peer's clock, ((t2 - t1) + (t3 - t4)) / 2, and the time that the
network took, (t4 - t1) - (t3 - t2), as in NTP's on-wire protocol (RFC 5905, section 8) and STAMP (RFC 8762). The offset
is exact if both directions were equally slow. Otherwise it is wrong by half of their difference, which is at most
half of the network RTT. So the exchange with the least network RTT bounds the offset best. But clocks drift apart, and
a bound grows with age (RFC 5905 calls this dispersion). So the offset comes from the exchange of a window whose bound,
age included, is the least.

Without synchronised clocks, it cannot be known how an RTT splits into two directions: a constant difference between the
directions looks like a clock offset, and biases the estimate by half of it. But the variation of each direction is
known: t2 - t1 above its least of the window is time in queues on the way there, t4 - t3 above its least is time in
queues on the way back. This holds while no clock is stepped. The drift within the window adds to one direction: 60 us
a minute for each part in a million.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from monlat_ebpf.model import ClockOffset, Queueing

WINDOW: Final = 61
"""Exchanges: a minute at one a second."""

DRIFT: Final = 100e-6
"""Seconds a second by which two free-running clocks may drift apart. RFC 5905 takes 15e-6 for a disciplined clock."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The four instants in nanoseconds, each by the wall clock of the node that took it."""

    t1: int
    t2: int
    t3: int
    t4: int

    @property
    def network_rtt(self) -> int:
        """The RTT without the peer's dwell."""
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
        """Add an exchange. If drift cannot explain its offset, a clock was stepped: the older exchanges are dropped."""
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
