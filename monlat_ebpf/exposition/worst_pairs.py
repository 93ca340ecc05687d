"""The pairs that were worst in the last minutes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND
from monlat_ebpf.model import Family, PairReading, Result

MINUTE: Final = 60.0
"""Seconds after which the pairs are ranked again, so that series do not come and go with every scrape."""

FADING: Final = 0.5
"""What a minute leaves of the score of the minutes before: a bad minute is forgotten after about five."""

STAYING: Final = 2.0
"""A pair that is shown is replaced by one that is this many times as bad: among equals, series do not come and go."""

_RTT: Final = layout.TARGET.nested("rtt", layout.HISTOGRAM).part("count", "sum")
_REPLY: Final = tuple(Result).index(Result.REPLY)


class _Counts(NamedTuple):
    """The counts of a pair at one instant: probes that ended, replies with an RTT, sum of the RTTs in nanoseconds."""

    created_seconds: int
    ended: int
    replies: int
    samples: int
    sum_ns: int


_Key = tuple[str, Family]


def lost_seconds(before: _Counts, now: _Counts, least_ns: int, timeout_seconds: float) -> float:
    """Return how long a probe took on average above the pair's least RTT; one without a reply took the timeout. Pure.

    The least RTT is subtracted because the distance of two nodes is no fault: else the farthest would be the worst.
    """
    lost = (now.ended - now.replies) - (before.ended - before.replies)
    samples = now.samples - before.samples
    if lost + samples <= 0:
        return 0.0
    waited = (now.sum_ns - before.sum_ns - samples * least_ns) / NANOSECONDS_PER_SECOND
    return (waited + lost * timeout_seconds) / (lost + samples)


class WorstPairs:
    """Ranks all pairs once a minute, by what they lost in it and in the minutes before."""

    def __init__(self, count: int, timeout_seconds: float, clock: Callable[[], float]) -> None:
        self._count = count
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._due = clock()
        self._is_ranking = False
        self._counts: dict[_Key, _Counts] = {}
        self._scores: dict[_Key, float] = {}
        self._next_counts: dict[_Key, _Counts] = {}
        self._next_scores: dict[_Key, float] = {}
        self._worst: frozenset[_Key] = frozenset()

    def begin(self) -> None:
        """Begin a scrape; the one before may have been given up."""
        self._is_ranking = self._clock() >= self._due
        self._next_counts, self._next_scores = {}, {}

    def note(self, pairs: Sequence[PairReading]) -> list[bool]:
        """Take the next pairs of the scrape; return for each whether it is one of the worst."""
        if self._is_ranking:
            for pair in pairs:
                self._score(pair)
        worst = self._worst
        return [(pair.to, pair.family) in worst for pair in pairs]

    def _score(self, pair: PairReading) -> None:
        key = (pair.to, pair.family)
        rtt = _RTT.read(pair.counts)
        now = _Counts(pair.created_unix_seconds, sum(pair.results), pair.results[_REPLY], rtt.count, rtt.sum)
        before = self._counts.get(key)
        if (
            before is None or before.created_seconds != now.created_seconds
        ):  # a new pair: all its counts are of this minute
            before = _Counts(now.created_seconds, 0, 0, 0, 0)
        score = lost_seconds(before, now, pair.min_rtt_ns or 0, self._timeout_seconds)
        self._next_counts[key] = now
        self._next_scores[key] = max(score, self._scores.get(key, 0.0) * FADING)

    def end(self) -> None:
        """End the scrape. What was ranked in it is shown from the next one on."""
        if not self._is_ranking:
            return
        self._due = self._clock() + MINUTE
        self._counts, self._next_counts = self._next_counts, {}
        self._scores, self._next_scores = self._next_scores, {}
        bad = (
            (score * STAYING if key in self._worst else score, key) for key, score in self._scores.items() if score > 0
        )
        self._worst = frozenset(key for _, key in heapq.nlargest(self._count, bad))
