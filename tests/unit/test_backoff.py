"""How long discovery waits before the next request, with given clock and random numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.config import Timing
from monlat_ebpf.discovery.api_errors import Reason
from monlat_ebpf.discovery.backoff import Backoff, RateLimiter
from monlat_ebpf.discovery.kubernetes_api import retry_after


def backoff(draw: Callable[[float, float], float] = lambda low, high: high) -> Backoff:
    """Return the back-off of a real agent, with the highest random number each time."""
    timing = Timing()
    return Backoff(
        base=timing.backoff_base,
        cap=timing.backoff_cap,
        outage_cap=timing.outage_cap,
        per_second=timing.retries_per_second,
        draw=draw,
    )


@pytest.mark.parametrize("reason", [Reason.DENIED, Reason.REQUEST, Reason.CLOSED, Reason.INTERNAL])
def test_failures_that_do_not_pass_double_the_wait_up_to_the_cap(reason: Reason) -> None:
    """1, 2, 4 … 32, then always 60."""
    waits = backoff()
    assert [waits.next_delay(reason, agents=3) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize("reason", [Reason.CONNECTION, Reason.TIMEOUT, Reason.THROTTLED, Reason.SERVER, Reason.STREAM])
@pytest.mark.parametrize(
    ("agents", "expected"),
    [
        (1, [1, 2, 3, 3, 3]),
        (30, [1, 2, 3, 3, 3]),  # all ask once within a second
        (60, [2, 4, 4, 4, 4]),
        (5001, [166.7, 333.4, 333.4, 333.4, 333.4]),
        (0, [1, 2, 4, 8, 16]),  # not known: a cluster of any size may be starting
    ],
)
def test_an_outage_is_waited_for_in_proportion_to_the_agents(
    reason: Reason, agents: int, expected: list[float]
) -> None:
    """30 requests a second: N agents ask once in N/30 s, and a random wait up to twice that is as long on average."""
    waits = backoff()
    assert [waits.next_delay(reason, agents) for _ in range(5)] == pytest.approx(expected)


def test_shortest_wait_is_zero() -> None:
    """With the lowest random number there is no wait, so agents that failed together spread over the whole range."""
    waits = backoff(lambda low, high: low)
    assert [waits.next_delay(Reason.CONNECTION, agents=3) for _ in range(3)] == [0, 0, 0]


def test_denied_after_an_outage_begins_at_the_base() -> None:
    """An API server that has just started denies for a few seconds, until its roles are loaded."""
    waits = backoff()
    outage = [waits.next_delay(Reason.CONNECTION, agents=3) for _ in range(23)]
    assert outage[-1] == 3
    assert [waits.next_delay(Reason.DENIED, agents=3) for _ in range(3)] == [1, 2, 4]


def test_reset_starts_again_at_the_base() -> None:
    """The longest wait after a reset is the base."""
    waits = backoff()
    assert [waits.next_delay(Reason.SERVER, agents=3) for _ in range(3)] == [1, 2, 3]
    waits.reset()
    assert waits.next_delay(Reason.SERVER, agents=3) == 1


def test_jitter_is_added_to_what_the_server_asked_for() -> None:
    """The server asks for 5 s, the jitter is 1 s."""
    assert backoff().next_delay(Reason.THROTTLED, agents=3, at_least=5) == 6


def test_agent_that_waited_lists_at_once_when_its_version_is_gone() -> None:
    """Once for each wait: a server that always says so is not asked without pause."""
    waits = backoff()
    asked = [Reason.CONNECTION, Reason.GONE, Reason.GONE, Reason.GONE]
    assert [waits.next_delay(reason, agents=3) for reason in asked] == [1, 0, 3, 0]


def test_agents_whose_version_is_gone_without_an_outage_spread_first() -> None:
    """Etcd was compacted under all their watches at once."""
    waits = backoff()
    assert waits.next_delay(Reason.GONE, agents=300) == 10
    waits.reset()
    assert waits.next_delay(Reason.GONE, agents=300) == 10


@pytest.mark.parametrize("agents", [0, 3])
def test_a_year_of_failures_does_not_overflow(agents: int) -> None:
    """5,003 failures: 2 to that power does not fit into a float."""
    waits = backoff()
    assert [waits.next_delay(Reason.DENIED, agents) for _ in range(5003)][-1] == 60


def test_burst_is_not_delayed_and_the_rest_follows_the_rate() -> None:
    """Three requests at once, then one a second: the fourth waits 1 s, the fifth 2 s."""
    limiter = RateLimiter(per_second=1, burst=3)
    assert [limiter.take(now=100) for _ in range(5)] == [0, 0, 0, 1, 2]


def test_idle_time_allows_no_more_than_the_burst() -> None:
    """After an idle hour three requests are allowed at once, not 3,600."""
    limiter = RateLimiter(per_second=1, burst=3)
    limiter.take(now=0)
    assert [limiter.take(now=3600) for _ in range(4)] == [0, 0, 0, 1]


@given(st.lists(st.floats(min_value=0, max_value=2), min_size=1, max_size=101))
def test_no_period_has_more_requests_than_allowed(pauses: list[float]) -> None:
    """At whatever times requests come, n of them take at least n - 3 seconds."""
    limiter = RateLimiter(per_second=1, burst=3)
    now, sent = 0.0, []
    for pause in pauses:
        now += pause
        now += limiter.take(now)
        sent.append(now)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            assert last - first + 1 <= 3 + (sent[last] - sent[first]) + 1e-6


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("300", 300),
        ("86400", 300),
        ("9" * 4000, 300),
        ("9" * 5000, 0),
        ("Sun, 01 Mar 2020 11:59:00 GMT", 0),
        ("Sun, 01 Mar 9000 12:00:00 GMT", 300),
        ("Sun, 01 Mar 9000 12:00:00 -0000", 300),
        ("Sun, 99 Mar 2026 12:00:11 GMT", 0),
        ("Sun, 01 Mar 99999999999 12:00:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float) -> None:
    """Anything else counts as 0. More than five minutes are cut to five minutes."""
    assert retry_after({} if text is None else {"Retry-After": text}) == seconds


def test_retry_after_a_date_waits_until_then() -> None:
    """A date in 100 s, rounded down to a whole second."""
    in_100_s = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 0 < retry_after({"Retry-After": in_100_s}) <= 100
