"""How long discovery waits, with dice and clock in hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.discovery.backoff import Backoff, RateLimiter, parse_retry_after

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    """With dice that always fall highest: 1, 2, 4 … 32, then 60 for ever."""
    backoff = Backoff(1, 60, draw=lambda low, high: high)
    assert [backoff.next_delay() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_jitter_is_full() -> None:
    """The lowest throw is no wait at all: agents that failed together spread over the whole ceiling."""
    backoff = Backoff(1, 60, draw=lambda low, high: low)
    assert [backoff.next_delay() for _ in range(3)] == [0, 0, 0]


def test_success_begins_anew() -> None:
    """After a reset the ceiling is the base again."""
    backoff = Backoff(1, 60, draw=lambda low, high: high)
    assert [backoff.next_delay() for _ in range(3)] == [1, 2, 4]
    backoff.reset()
    assert backoff.next_delay() == 1


def test_jitter_comes_on_top_of_what_the_server_asked_for() -> None:
    """5 s asked for, and 1 s of jitter."""
    assert Backoff(1, 60, draw=lambda low, high: high).next_delay(at_least=5) == 6


def test_a_year_of_failures_overflows_nothing() -> None:
    """5003 failures: 2 to that power is no float."""
    backoff = Backoff(1, 60, draw=lambda low, high: high)
    assert [backoff.next_delay() for _ in range(5003)][-1] == 60


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    """Three at once, then one a second: the fourth waits 1 s, the fifth 2 s."""
    budget = RateLimiter(per_second=1, burst=3)
    assert [budget.take(now=100) for _ in range(5)] == [0, 0, 0, 1, 2]


def test_idle_time_earns_no_more_than_the_burst() -> None:
    """After an hour of silence there are three at once again, not 3600."""
    budget = RateLimiter(per_second=1, burst=3)
    budget.take(now=0)
    assert [budget.take(now=3600) for _ in range(4)] == [0, 0, 0, 1]


@given(st.lists(st.floats(min_value=0, max_value=2), min_size=1, max_size=101))
def test_no_stretch_of_time_has_more_than_its_share(pauses: list[float]) -> None:
    """However requests come, n of them take at least n - 3 seconds."""
    budget = RateLimiter(per_second=1, burst=3)
    now, sent = 0.0, []
    for pause in pauses:
        now += pause
        now += budget.take(now)
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
        ("9" * 5000, 300),
        ("Sun, 01 Mar 2026 12:00:11 GMT", 11),
        ("Sun, 01 Mar 2026 11:59:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:00:11 -0000", 11),
        ("Mon, 02 Mar 2026 12:00:00 GMT", 300),
        ("Sun, 99 Mar 2026 12:00:11 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float) -> None:
    """What is neither asks for nothing; more than five minutes are not granted."""
    assert parse_retry_after(text, NOON) == seconds
