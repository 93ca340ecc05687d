"""What is known about each direction and about the peer's clock, by arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.model import Queueing
from monlat_ebpf.probing.one_way import DRIFT, WINDOW, Exchange, OneWay

SECOND = 1_000_000_000
times = st.integers(0, 10**10)


def exchange(at: int, forward: int, backward: int, *, offset: int = 0, dwell: int = 30_000) -> Exchange:
    """An exchange that began `at` by our clock, with a peer whose clock is `offset` ahead; all nanoseconds."""
    received = at + forward
    return Exchange(at, received + offset, received + dwell + offset, received + dwell + backward)


def filled(*exchanges: Exchange) -> OneWay:
    one_way = OneWay()
    for each in exchanges:
        one_way.add(each)
    return one_way


def assert_offset(one_way: OneWay, offset_ns: float, error_ns: float) -> None:
    known = one_way.clock_offset()
    assert known is not None
    assert known.offset_ns == offset_ns
    assert known.error_ns == pytest.approx(error_ns)


def test_an_exchange_by_hand() -> None:
    """t1 100, t2 1150, t3 1180, t4 170: the network took 40, and the peer is 1030 ahead."""
    one = Exchange(100, 1150, 1180, 170)
    assert one.network_rtt == 40
    assert one.offset == 1030


@given(forward=times, backward=times, dwell=times, offset=st.integers(-(10**12), 10**12))
def test_the_offset_is_wrong_by_half_the_asymmetry(forward: int, backward: int, dwell: int, offset: int) -> None:
    """RFC 5905, section 8: the error is half the difference of the directions, and at most half their sum."""
    one = exchange(5, forward, backward, offset=offset, dwell=dwell)
    assert one.network_rtt == forward + backward
    assert one.offset - offset == (forward - backward) / 2
    assert abs(one.offset - offset) <= one.network_rtt / 2


def test_nothing_is_known_before_the_first_exchange() -> None:
    """Offset and queueing are None, not zero."""
    assert OneWay().clock_offset() is None
    assert OneWay().queueing() is None
    assert OneWay().last is None


def test_the_least_delayed_exchange_speaks() -> None:
    """Of three within a millisecond, the second with 20 us of network; its error grows by 100 ns a millisecond."""
    one_way = filled(
        exchange(0, 40_000, 20_000, offset=500),
        exchange(1_000_000, 12_000, 8_000, offset=500),
        exchange(2_000_000, 9_000, 90_000, offset=500),
    )
    age = (2_000_000 + 129_000) - (1_000_000 + 50_000)  # from its t4 to the newest t4
    assert_offset(one_way, 500 + 2_000, 10_000 + age * DRIFT)


def test_an_old_exchange_yields_to_a_fresh_one_that_bounds_better() -> None:
    """10 us of network half a minute ago bound the offset of clocks that drift by 3 ms; 50 us now, by 25 us."""
    one_way = filled(exchange(0, 5_000, 5_000), exchange(30 * SECOND, 40_000, 10_000))
    assert_offset(one_way, 15_000, 25_000)


@given(
    drift=st.integers(-100, 100),
    delays=st.lists(st.tuples(st.integers(1_000, 10**8), st.integers(1_000, 10**8)), min_size=1, max_size=90),
)
def test_the_error_holds_for_clocks_that_drift(drift: int, delays: list[tuple[int, int]]) -> None:
    """Up to 100 parts in a million: after every exchange, a second apart, the truth of now lies within the bound.

    No exchange is taken for a step either: the window keeps all that it has room for.
    """
    one_way = OneWay()
    for number, (forward, backward) in enumerate(delays):
        offset = 777 + drift * number * 1_000  # ns a second
        one_way.add(exchange(number * SECOND, forward, backward, offset=offset))
        known = one_way.clock_offset()
        assert known is not None
        assert abs(known.offset_ns - offset) <= known.error_ns + abs(drift) * 1e-6 * 300_000_000
    assert len(one_way._forward) == min(len(delays), WINDOW)


@pytest.mark.parametrize("step", [-2 * SECOND, 37_000_000, 150_000])
def test_a_step_starts_the_window_anew(step: int) -> None:
    """By more than the delays (20 us) and the drift of a second (100 us) explain: the older exchanges are dropped."""
    one_way = filled(*(exchange(number * SECOND, 10_000, 10_000) for number in range(10)))
    one_way.add(exchange(10 * SECOND, 12_000, 8_000, offset=step))
    assert_offset(one_way, step + 2_000, 10_000)
    assert one_way.queueing() == Queueing(0, 0)


def test_a_long_delay_is_no_step() -> None:
    """A reply that waited 5 s in a queue moves its own offset by 2.5 s, and its own network RTT explains that."""
    one_way = filled(exchange(0, 10_000, 10_000), exchange(SECOND // 1000, 10_000, 5 * SECOND))
    known = one_way.clock_offset()
    assert known is not None
    assert known.offset_ns == 0
    assert one_way.queueing() == Queueing(0, 5 * SECOND - 10_000)


def test_queueing_is_what_each_direction_took_above_its_least() -> None:
    """The least of either direction may be of different exchanges; the unknown offset of 9 s does not matter."""
    one_way = filled(
        exchange(0, 10_000, 70_000, offset=9 * SECOND),
        exchange(1_000_000, 50_000, 20_000, offset=9 * SECOND),
        exchange(2_000_000, 35_000, 29_000, offset=9 * SECOND),
    )
    assert one_way.queueing() == Queueing(25_000, 9_000)


def test_the_window_forgets() -> None:
    """WINDOW exchanges later, the least delayed one is no longer compared with."""
    one_way = filled(exchange(0, 1_000, 1_000))
    for number in range(1, WINDOW + 1):
        one_way.add(exchange(number * SECOND, 50_000, 50_000))
    assert one_way.queueing() == Queueing(0, 0)
