"""What each path of the agent's HTTP server answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from monlat_ebpf.exposition import api, negotiation, peer_detail
from monlat_ebpf.exposition.buckets import Counted
from monlat_ebpf.exposition.detail import Details
from monlat_ebpf.exposition.formats import formats
from monlat_ebpf.exposition.http import Request, Response, Route
from monlat_ebpf.exposition.page_files import page_routes
from monlat_ebpf.exposition.sections import Piece
from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.model import AgentSnapshot, Family, PairReading, RecentProbe

Check = Callable[[], str | None]
"""Returns None when the check passes, else the reason of its failure."""

Readings = Callable[[], tuple[AgentSnapshot, Iterable[PairReading]]]
"""Returns the agent's own values, and the pairs, each read when it is taken."""

Recent = Callable[[str], Mapping[Family, Sequence[RecentProbe]]]

_PAGE: Final = Path(__file__).parent / "agent_page"


def agent_routes(
    snapshot: Callable[[str | None], AgentSnapshot],
    readings: Readings,
    healthy: Check,
    ready: Check,
    self_metrics: SelfMetrics,
    recent: Recent = lambda _: {},
    details: Details | None = None,
) -> Mapping[str, Route]:
    """Return the routes of an agent.

    `snapshot` is called once for each answer in JSON, with the name of the one peer that it is about or None;
    `readings` for each other one, both in the thread that renders. `recent` returns the last probes of a peer, by
    family, oldest first. `details` says which pairs /metrics shows in full; without it, all. /metrics?classic=true has
    classic buckets beside native ones, /api/v1/peers?buckets=true all counts that a collector compares.
    """
    details = details or Details()
    counted = Counted(self_metrics.schedule_lag.flat)
    usual, with_classic = (formats(self_metrics, details, has_classic=has) for has in (False, True))

    def metrics(request: Request) -> Response:
        is_classic_asked = parse_qs(request.query).get("classic", ["false"])[-1] == "true"
        chosen = negotiation.choose(request.accept, with_classic if is_classic_asked else usual)

        def render() -> Iterator[Piece]:
            return chosen.render(*readings())

        return Response(render, chosen.content_type)

    def peers(request: Request) -> Response:
        query = parse_qs(request.query)
        if "peer" in query:
            name = query["peer"][-1]
            return Response(lambda: [peer_detail.render_peer(snapshot(name), name, recent(name))], api.CONTENT_TYPE)
        with_counts = counted if query.get("buckets", ["false"])[-1] == "true" else None
        return Response(lambda: api.render_peers(snapshot(None), with_counts), api.CONTENT_TYPE)

    return {
        **page_routes(_PAGE),
        "/metrics": metrics,
        "/api/v1/peers": peers,
        "/healthz": check_route(healthy),
        "/readyz": check_route(ready),
    }


def check_route(check: Check) -> Route:
    """Return a route that answers `ok`, or 503 with the reason."""

    def route(_: Request) -> Response:
        reason = check()
        if reason is None:
            return Response(b"ok\n")
        return Response(f"{reason}\n".encode(errors="replace"), status=HTTPStatus.SERVICE_UNAVAILABLE)

    return route
