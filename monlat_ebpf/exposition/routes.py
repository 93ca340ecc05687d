"""What each path of the agent's HTTP server answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from monlat_ebpf.exposition import api, negotiation, peer_detail, text
from monlat_ebpf.exposition.http import Request, Response, Route
from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.model import AgentSnapshot, Family, RecentProbe

Check = Callable[[], str | None]
"""Returns None when the check passes, else the reason of its failure."""

Recent = Callable[[str], Mapping[Family, Sequence[RecentProbe]]]

_INDEX: Final = {
    "/metrics": "the measurements, for Prometheus",
    "/api/v1/peers": "the measurements by peer, as JSON; with ?peer=NAME one peer and its last probes",
    "/healthz": "whether the process works",
    "/readyz": "whether the agent is loaded and knows its peers",
}


def agent_routes(
    snapshot: Callable[[], AgentSnapshot],
    healthy: Check,
    ready: Check,
    self_metrics: SelfMetrics,
    recent: Recent = lambda _: {},
) -> Mapping[str, Route]:
    """Return the routes of an agent.

    `snapshot` is called once for each answer, in the thread that renders, so an answer shows one instant. `recent`
    returns the last probes of a peer, by family, oldest first.
    """
    exposition = text.TextExposition()

    def render_text(agent: AgentSnapshot) -> Iterator[bytes]:
        yield from exposition.render(agent)
        yield self_metrics.render()

    formats = (negotiation.Format(text.CONTENT_TYPE, render_text),)

    def metrics(request: Request) -> Response:
        chosen = negotiation.choose(request.accept, formats)
        return Response(lambda: chosen.render(snapshot()), chosen.content_type)

    def peers(request: Request) -> Response:
        wanted = parse_qs(request.query).get("peer")
        if wanted:
            name = wanted[-1]
            return Response(lambda: [peer_detail.render_peer(snapshot(), name, recent(name))], api.CONTENT_TYPE)
        return Response(lambda: api.render_peers(snapshot()), api.CONTENT_TYPE)

    return {
        "/": _index,
        "/metrics": metrics,
        "/api/v1/peers": peers,
        "/healthz": _check_route(healthy),
        "/readyz": _check_route(ready),
    }


def _check_route(check: Check) -> Route:
    def route(_: Request) -> Response:
        reason = check()
        if reason is None:
            return Response(b"ok\n")
        return Response(f"{reason}\n".encode(errors="replace"), status=HTTPStatus.SERVICE_UNAVAILABLE)

    return route


def _index(_: Request) -> Response:
    items = "".join(f'<li><a href="{path}">{path}</a>: {escape(content)}\n' for path, content in _INDEX.items())
    page = f"<!doctype html>\n<title>monlat agent</title>\n<h1>monlat agent</h1>\n<ul>\n{items}</ul>\n"
    return Response(page.encode(), "text/html; charset=utf-8")
