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

from array import array
from typing import Final, NamedTuple

from monlat_ebpf.model import ClockOffset, Queueing

WINDOW: Final = 61
"""Exchanges: a minute at one a second."""

DRIFT: Final = 100e-6
"""Seconds a second by which two free-running clocks may drift apart. RFC 5905 takes 15e-6 for a disciplined clock."""


class Exchange(NamedTuple):
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


class OneWay:
    """The last exchanges with one peer."""

    __slots__ = ("_base", "_bounds", "_forward", "_last_offset", "_next", "_return", "last")

    def __init__(self) -> None:
        self.last: Exchange | None = None  # the newest one
        self._clear(0)

    def _clear(self, base: int) -> None:
        self._base = base  # t4 of the oldest exchange since, to keep the floats below small and so exact
        self._next = 0  # where the next exchange goes once there are WINDOW: in place of the oldest
        self._last_offset = 0.0
        self._forward = array("q")  # t2 - t1 of each exchange of the window
        self._return = array("q")  # t4 - t3
        self._bounds = array("d")  # its error at time `_base`, if drift is counted back from its t4

    def add(self, exchange: Exchange) -> None:
        """Add an exchange. If drift cannot explain its offset, a clock was stepped: the older exchanges are dropped."""
        t1, t2, t3, t4 = exchange
        forward, back, offset = t2 - t1, t4 - t3, exchange.offset
        if self.last is None or self._is_step(exchange, offset, self.last):
            self._clear(t4)
        self.last, self._last_offset = exchange, offset
        bound = exchange.network_rtt / 2 - DRIFT * (t4 - self._base)
        if len(self._bounds) < WINDOW:
            self._forward.append(forward)
            self._return.append(back)
            self._bounds.append(bound)
        else:
            position = self._next
            self._forward[position], self._return[position], self._bounds[position] = forward, back, bound
            self._next = (position + 1) % WINDOW

    def clock_offset(self) -> ClockOffset | None:
        """Return the offset by the exchange that bounds it best as of the newest, None before there was one.

        The errors of all exchanges grow at the same rate, so the one with the least error keeps the least.
        """
        if self.last is None:
            return None
        least = min(self._bounds)
        best = self._bounds.index(least)
        error_ns = least + DRIFT * (self.last.t4 - self._base)
        return ClockOffset((self._forward[best] - self._return[best]) / 2, error_ns)

    def queueing(self) -> Queueing | None:
        """Return how much longer than at best each direction of the last exchange took, None before there was one."""
        if self.last is None:
            return None
        t1, t2, t3, t4 = self.last
        return Queueing(t2 - t1 - min(self._forward), t4 - t3 - min(self._return))

    def _is_step(self, exchange: Exchange, offset: float, last: Exchange) -> bool:
        allowed = (exchange.network_rtt + last.network_rtt) / 2 + DRIFT * abs(exchange.t1 - last.t1)
        return abs(offset - self._last_offset) > allowed
