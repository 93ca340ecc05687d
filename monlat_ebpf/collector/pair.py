"""The JSON of `/api/v1/pair`: both directions of one pair of nodes. Pure. docs/collector.md describes it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND, bucket_of, edge_seconds
from monlat_ebpf.collector.answer import LOST, MEASURED, NOT_PROBED, STALE
from monlat_ebpf.collector.history import Point
from monlat_ebpf.collector.matrix import MEASURES, measure_of, node_document
from monlat_ebpf.collector.recent import Recent
from monlat_ebpf.collector.store import NodeView, state_of

STATES = {MEASURED: "measured", LOST: "lost", STALE: "stale", NOT_PROBED: "not_probed"}


class Detail(NamedTuple):
    """What an agent last said of one peer, how long ago, and why it has said nothing since."""

    document: dict[str, Any] | None
    age_seconds: float | None
    failure: str | None


class Direction(NamedTuple):
    """What is known of one direction. `detail` is None until the agent has been asked about this pair."""

    source: NodeView
    to: NodeView
    history: Sequence[Point]
    recent: Recent | None
    detail: Detail | None


def render_pair(directions: Sequence[Direction]) -> bytes:
    """Return the document, the direction that was asked for first."""
    return json.dumps({"directions": [direction_document(direction) for direction in directions]}).encode() + b"\n"


def direction_document(direction: Direction) -> dict[str, Any]:
    """Return one direction. `last` has every measure; a number that is not known is null, as is the RTT of a loss.

    A stale direction keeps its last numbers under `last`, of `age_seconds` ago.
    """
    node, to, history, recent, detail = direction
    position = node.row.to.index(to.name) if node.row and to.name in node.row.to else None
    return {
        "from": node.name,
        "to": to.name,
        "state": STATES[state_of(node, position)],
        "agent": node_document(node),
        "last": {
            key_of(measure): _known(measure_of(node, measure)[position]) if position is not None else None
            for measure in MEASURES
        },
        "loss_window_seconds": round(node.loss_window_seconds, 3),
        "history": {
            "unix_seconds": [point.unix_seconds for point in history],
            "rtt_seconds": [_rounded(point.rtt_seconds) for point in history],
            "is_lost": [int(point.is_lost) for point in history],
        },
        "distribution": distribution(recent or _of_points(history)),
        "detail": None if detail is None else detail.document,
        "detail_age_seconds": None if detail is None or detail.age_seconds is None else round(detail.age_seconds, 3),
        "detail_failure_text": None if detail is None else detail.failure,
    }


def key_of(measure: str) -> str:
    """Return the key of a measure, which ends in its unit: rtt_p99_seconds, loss_forward_ratio."""
    return f"{measure}_{MEASURES[measure]}"


def distribution(recent: Recent) -> dict[str, Any]:
    """Return how many RTTs are in each bucket of the agents' histogram that holds one.

    A bucket holds times up to its edge, and above the edge before; buckets are 9 % wide.
    """
    buckets = sorted(recent.counts)
    edges = [edge_seconds(bucket) for bucket in buckets]
    return {
        "seconds": round(recent.seconds, 3),
        "samples": recent.counts.total(),
        "edges_seconds": [edge if math.isfinite(edge) else None for edge in edges],
        "counts": [recent.counts[bucket] for bucket in buckets],
    }


def _of_points(history: Sequence[Point]) -> Recent:
    """Return the points of the history: less than all RTTs, for agents without histograms."""
    rtts = [point.rtt_seconds for point in history if point.rtt_seconds is not None]
    seconds = history[-1].unix_seconds - history[0].unix_seconds if history else 0
    return Recent(Counter(bucket_of(round(rtt * NANOSECONDS_PER_SECOND)) for rtt in rtts), seconds)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.7g}")


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
