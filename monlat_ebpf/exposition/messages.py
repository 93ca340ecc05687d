"""What the HTTP server and its routes exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from monlat_ebpf.exposition.sections import Piece

PLAIN_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that a route uses."""

    accept: str = ""
    """The Accept header, "" without one."""
    query: str = ""
    """What follows the question mark, still encoded; "" without one."""


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a request.

    A function as `body` returns the body in chunks, or in pieces of its sections. It is called in the thread that
    renders, and only for GET: all slow work belongs there.
    """

    body: bytes | Callable[[], Iterable[bytes | Piece]]
    content_type: str = PLAIN_TEXT
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


NOT_ALLOWED: Final = Response(
    b"only GET and HEAD are served here\n", status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"}
)
FAILED: Final = Response(b"the agent failed to answer; its log says why\n", status=HTTPStatus.INTERNAL_SERVER_ERROR)

Route = Callable[[Request], Response]
"""Answers a path. It runs in the server's event loop, so it must return at once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much clients may take of the server."""

    clients: int = 64
    """Connections at once. A newcomer ends another one, as clients.py says."""
    waiting: int = 512
    """Clients that have no connection yet. When thousands come at once, the others are closed: see acceptor.py."""
    renderings: int = 8
    """Rendered bodies in memory at once, 0.5 MB each at 1,000 peers. A newer one ends the readers of the oldest."""
    idle_seconds: float = 75.0
    """To send a request: past the usual scrape interval of a minute, so that Prometheus keeps its connection."""
    answer_seconds: float = 30.0
    """To take an answer; Prometheus itself gives up after 10."""
