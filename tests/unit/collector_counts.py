"""Answers with counts, as agents give them to a collector, for the tests of its windows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from monlat_ebpf.collector.counts import AgentCounts, parse_answer
from tests.unit.collector_rows import RESULTS
from tests.unit.fake_agent import answer, pair

Histogram = Mapping[int, int]
KNOWN = frozenset({"node1", "node2", "node3", "node4"})


def flat(histogram: Histogram) -> list[int]:
    return [number for bucket in sorted(histogram) for number in (bucket, histogram[bucket])]


def counted(to: str, rtt: Histogram, lost: int = 0, **changes: Any) -> dict[str, Any]:
    """A pair whose replies are those of `rtt`; `changes` replace fields."""
    replies = sum(rtt.values())
    return pair(
        to,
        **{
            "sent": replies + lost,
            "results": {**dict.fromkeys(RESULTS, 0), "reply": replies, "lost_forward": lost},
            "buckets": {"rtt": flat(rtt), "network_rtt": flat(rtt), "dwell": []},
            **changes,
        },
    )


def document(*pairs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The answer of node1's agent; `changes` replace fields."""
    return answer(*pairs, **{"created_unix_seconds": 1_700_000_000, "schedule_lag_buckets": [], **changes})


def parsed(of: Mapping[str, Any], known: frozenset[str] = KNOWN) -> AgentCounts:
    return parse_answer(json.dumps(of).encode(), str(of["node"]), known)[1]


def counts(*pairs: dict[str, Any], **changes: Any) -> AgentCounts:
    return parsed(document(*pairs, **changes))
