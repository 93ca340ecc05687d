"""How long discovery waits before the next request, with given clock and random numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.discovery.backoff import Backoff, RateLimiter
from monlat_ebpf.discovery.kubernetes_api import retry_after


def test_longest_wait_doubles_up_to_the_cap() -> None:
    """With the highest random number each time: 1, 2, 4 … 32, then always 60."""
    backoff = Backoff(1, 60, draw=lambda low, high: high)
    assert [backoff.next_delay() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_shortest_wait_is_zero() -> None:
    """With the lowest random number there is no wait, so agents that failed together spread over the whole range."""
    backoff = Backoff(1, 60, draw=lambda low, high: low)
    assert [backoff.next_delay() for _ in range(3)] == [0, 0, 0]


def test_reset_starts_again_at_the_base() -> None:
    """The longest wait after a reset is the base."""
    backoff = Backoff(1, 60, draw=lambda low, high: high)
    assert [backoff.next_delay() for _ in range(3)] == [1, 2, 4]
    backoff.reset()
    assert backoff.next_delay() == 1


def test_jitter_is_added_to_what_the_server_asked_for() -> None:
    """The server asks for 5 s, the jitter is 1 s."""
    assert Backoff(1, 60, draw=lambda low, high: high).next_delay(at_least=5) == 6


def test_a_year_of_failures_does_not_overflow() -> None:
    """5,003 failures: 2 to that power does not fit into a float."""
    backoff = Backoff(1, 60, draw=lambda low, high: high)
    assert [backoff.next_delay() for _ in range(5003)][-1] == 60


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
