"""What each path of the collector's HTTP server answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from monlat_ebpf.collector.diagnosing import Decision
from monlat_ebpf.collector.diagnosis_document import render_diagnosis
from monlat_ebpf.collector.matrix import MEASURES, render_matrix
from monlat_ebpf.collector.metrics import CollectorMetrics, render_latencies
from monlat_ebpf.collector.pair import Detail, Direction, render_pair
from monlat_ebpf.collector.store import Store
from monlat_ebpf.exposition.http import Request, Response, Route
from monlat_ebpf.exposition.page_files import page_routes
from monlat_ebpf.exposition.routes import Check, check_route
from monlat_ebpf.exposition.text import CLASSIC_TYPE as TEXT

_JSON: Final = "application/json"
_PAGE: Final = Path(__file__).parent / "page"
_FRESH: Final = {"Cache-Control": "no-store"}

DetailOf = Callable[[str, str], Detail | None]


def collector_routes(
    store: Store,
    detail_of: DetailOf,
    metrics: CollectorMetrics,
    healthy: Check,
    ready: Check,
    interval_seconds: float,
    decision: Callable[[], Decision] = Decision,
) -> Mapping[str, Route]:
    """Return the routes of a collector.

    `detail_of` returns the details of the direction from a node to another, `decision` the last decision.
    """

    def metric_text(_: Request) -> Response:
        def render() -> Iterator[bytes]:
            yield from render_latencies(store.view())
            yield metrics.render()

        return Response(render, TEXT)

    def matrix(request: Request) -> Response:
        measure = parse_qs(request.query).get("measure", ["rtt"])[-1]
        if measure not in MEASURES:
            return _refuse(HTTPStatus.BAD_REQUEST, f"no measure {measure[:40]!r}; there is {', '.join(MEASURES)}")
        return Response(
            lambda: render_matrix(
                store.view(), measure, unix_seconds=round(time.time(), 3), interval_seconds=interval_seconds
            ),
            _JSON,
            headers=_FRESH,
        )

    def pair(request: Request) -> Response:
        query = parse_qs(request.query)
        if not ("from" in query and "to" in query):
            return _refuse(HTTPStatus.BAD_REQUEST, "name two nodes: /api/v1/pair?from=NODE&to=NODE")
        ends = query["from"][-1], query["to"][-1]
        if unknown := [name for name in ends if name not in store.names()]:
            return _refuse(HTTPStatus.NOT_FOUND, f"no node {unknown[0][:253]!r} is in the list of agents")
        if ends[0] == ends[1]:
            return _refuse(HTTPStatus.BAD_REQUEST, "a node is no pair; name two nodes")
        return Response(lambda: [render_pair(list(_directions(store, detail_of, *ends)))], _JSON, headers=_FRESH)

    def diagnosis(request: Request) -> Response:
        with_suspected = parse_qs(request.query).get("suspected", ["0"])[-1] == "1"
        return Response(
            lambda: [render_diagnosis(decision(), store.view(), with_suspected=with_suspected)], _JSON, headers=_FRESH
        )

    return {
        **page_routes(_PAGE),
        "/metrics": metric_text,
        "/api/v1/matrix": matrix,
        "/api/v1/pair": pair,
        "/api/v1/diagnosis": diagnosis,
        "/healthz": check_route(healthy),
        "/readyz": check_route(ready),
    }


def _directions(store: Store, detail_of: DetailOf, one: str, other: str) -> Iterator[Direction]:
    for source, to in ((one, other), (other, one)):
        nodes = store.node(source), store.node(to)
        if nodes[0] and nodes[1]:  # neither has left the list since the request
            history, recent = store.history(source, to), store.recent(source, to)
            yield Direction(nodes[0], nodes[1], history, recent, detail_of(source, to))


def _refuse(status: HTTPStatus, reason: str) -> Response:
    return Response(json.dumps({"error": reason}).encode() + b"\n", _JSON, status)
