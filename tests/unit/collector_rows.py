"""Rows of agents for the tests of the collector, by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from monlat_ebpf.collector.answer import Row, parse_row
from tests.unit.fake_agent import answer, pair

RESULTS = ("reply", "lost_network", "lost_forward", "lost_return", "lost_host", "unreachable", "send_error")
NODES = ("node1", "node2", "node3")


def results(**counts: int) -> dict[str, int]:
    return {**dict.fromkeys(RESULTS, 0), **counts}


def row(source: str, rtts: Mapping[str, float | None], **changes: Any) -> Row:
    """The row of `source`: the RTT of each peer, None for a loss; `changes` replace fields of each pair."""
    pairs = [
        pair(to, **{"from": source, "rtt_seconds": {**pair(to)["rtt_seconds"], "last": rtt}, **changes})
        for to, rtt in rtts.items()
    ]
    return parse_row(json.dumps(answer(*pairs, node=source)).encode(), source, frozenset({source, *rtts}))
