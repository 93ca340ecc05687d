"""The counts that `/api/v1/peers?buckets=true` has besides: what a collector sums up and compares. Pure.

A histogram is a flat list: the number of a bucket, its count, the number of the next one, and so on, in ascending
order, without the empty ones. Bucket b holds times above 2^(-20 + (b - 1)/8) s, up to and including 2^(-20 + b/8) s;
bucket 0 all times up to 2^-20 s, bucket 185 all times over 8 s. Counts are since the pair or the agent was made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from typing import TypedDict

from monlat_ebpf.model import AgentSnapshot, PairSnapshot, PeerKind


class BucketsDocument(TypedDict):
    """The histograms of a pair; null where the source of time stamps cannot see what they would count."""

    rtt: list[int]
    network_rtt: list[int] | None
    dwell: list[int] | None


class AgentCountsDocument(TypedDict):
    """What is added to an AgentDocument.

    `created_unix_seconds` is when the agent began to count: another number says that all counts began again.
    `schedule_lag_buckets` counts every probe by how late it was sent; an octave's samples are in its first bucket.
    """

    created_unix_seconds: int
    schedule_lag_buckets: list[int]


@dataclass(frozen=True, slots=True)
class Counted:
    """Adds counts to the documents of an answer. `schedule_lag` returns a flat list as the JSON has it."""

    schedule_lag: Callable[[], list[int]]

    def of_agent(self, snapshot: AgentSnapshot) -> AgentCountsDocument:
        """Return the agent's counts."""
        return {"created_unix_seconds": snapshot.created_unix_seconds, "schedule_lag_buckets": self.schedule_lag()}

    def of_pair(self, pair: PairSnapshot) -> dict[str, BucketsDocument]:
        """Return the counts of a pair; none of a target: no collector has a row for it."""
        if pair.kind is not PeerKind.NODE:
            return {}
        return {
            "buckets": {
                "rtt": flat(pair.rtt.buckets),
                "network_rtt": None if pair.network_rtt is None else flat(pair.network_rtt.buckets),
                "dwell": None if pair.dwell is None else flat(pair.dwell.buckets),
            }
        }


def flat(counts: Sequence[int]) -> list[int]:
    """Return the numbers and counts of the buckets that are not empty."""
    return list(chain.from_iterable(compress(enumerate(counts), counts)))
