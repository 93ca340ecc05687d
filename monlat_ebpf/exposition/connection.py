"""One HTTP connection: h11 parses the requests, the routes answer them, and a timer limits each phase.

A connection is in one of two phases: it waits for a request, or it answers one. Only the time in the phase counts,
so a client cannot stay longer by sending or reading a byte now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, cast

import h11

from monlat_ebpf.exposition.messages import Limits, Request, Response, Route
from monlat_ebpf.exposition.negotiation import accepts_gzip
from monlat_ebpf.exposition.rendering import Renderer, Rendering

LONGEST_TARGET: Final = 8000  # bytes; RFC 9112, section 3: support at least as many
LONGEST_HEAD: Final = 32 * 1024  # bytes of request line and headers; a request's headers are some 300 bytes

_PIECES_A_TURN: Final = 16  # half a megabyte to one client, then the event loop serves the others


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of a server share."""

    routes: Mapping[str, Route]
    limits: Limits
    renderer: Renderer
    report: Callable[[Exception], None]
    connections: dict[Connection, None] = field(default_factory=dict)


class Connection(asyncio.Protocol):
    """Reads requests and answers each from the routes; all methods run in the event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
        self._gzip = False
        self._paused = False
        self._ahead = 0  # bytes received while a request is being answered
        self._rendering: Rendering | None = None
        self._pieces: Iterator[bytes] | None = None

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the client; where there are too many, another one ends."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1)  # pause at once; 0 would stall asyncio over TLS
        connections = self._service.connections
        if len(connections) >= self._service.limits.clients:
            min(connections, key=lambda connection: (connection._answering, connection._since)).abort()
        connections[self] = None
        self._timer = self._loop.call_soon(lambda: None)
        self._enter(answering=False)

    def data_received(self, data: bytes) -> None:
        """Parse what came; a client that sends far ahead of its answers is ended."""
        self._ahead += len(data) if self._answering else 0
        if self._ahead > LONGEST_HEAD:
            self.abort()
            return
        self._h11.receive_data(data)
        self._advance()

    def pause_writing(self) -> None:
        """Stop sending until the client has read."""
        self._paused = True

    def resume_writing(self) -> None:
        """Send on, but not yet: asyncio reports a connection twice as lost that is closed before this returns."""
        self._paused = False
        self._loop.call_soon(self._advance)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client, and stop rendering for it."""
        self._timer.cancel()
        self._service.connections.pop(self, None)
        self._leave_rendering()

    # called by the renderer

    def rendered(self, rendering: Rendering) -> None:
        """Send the body that this client has waited for."""
        if rendering.error is not None:
            self._service.report(rendering.error)
            self._leave_rendering()
            self._send(_FAILED)
        else:
            length = len(rendering.compressed) if self._gzip else rendering.length
            encoding = {"Content-Encoding": "gzip"} if self._gzip else {}
            self._send_head(rendering.response, {"Content-Length": str(length), "Vary": "Accept-Encoding", **encoding})
            self._pieces = rendering.pieces(compressed=self._gzip)
        self._advance()

    def abort(self) -> None:
        """End the connection at once."""
        self._service.connections.pop(self, None)
        self._transport.abort()

    # in this order for each request

    def _advance(self) -> None:
        """Go on as far as the requests that came and the client's reading allow."""
        for _ in range(_PIECES_A_TURN):
            if self._paused or self._transport.is_closing():
                return
            if self._pieces is not None:
                piece = next(self._pieces, None)
                if piece is None:
                    self._finish()
                else:
                    self._write(h11.Data(data=piece))
            elif self._rendering is not None or not self._read_request():
                return
        self._loop.call_soon(self._advance)

    def _read_request(self) -> bool:
        """Begin to answer the next request; False when there is none yet."""
        try:
            event = self._h11.next_event()
            if not isinstance(event, h11.Request):
                return False  # more is to come
            self._enter(answering=True)
            whole = isinstance(self._h11.next_event(), h11.EndOfMessage)
        except h11.RemoteProtocolError as error:
            in_target = error.error_status_hint == 431 and b"\n" not in self._h11.trailing_data[0]
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG if in_target else HTTPStatus(error.error_status_hint))
            return True
        if len(event.target) > LONGEST_TARGET:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif sum(len(name) + len(value) for name, value in event.headers) > LONGEST_HEAD:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            # a body is not read: its bytes must not be taken for the next request
            self._answer(event, {} if whole else {"Connection": "close"})
        return True

    def _refuse(self, status: HTTPStatus) -> None:
        self._enter(answering=True)
        self._send(Response(f"{status.phrase}\n".encode(), status=status), {"Connection": "close"})

    def _answer(self, request: h11.Request, headers: Mapping[str, str]) -> None:
        if request.method not in (b"GET", b"HEAD"):
            body = b"only GET and HEAD are served here\n"
            self._send(Response(body, status=HTTPStatus.METHOD_NOT_ALLOWED), {"Allow": "GET, HEAD", **headers})
            return
        target = request.target.decode("latin-1")
        if not target.startswith("/"):  # absolute-form, RFC 9112, section 3.2.2
            target = "/" + target.partition("://")[2].partition("/")[2]
        path, _, query = target.partition("?")
        route = self._service.routes.get(path)
        if route is None:
            paths = "  ".join(self._service.routes)
            response = Response(f"nothing here; there is {paths}\n".encode(), status=HTTPStatus.NOT_FOUND)
            self._send(response, headers)
            return
        try:
            response = route(Request(_header(request, b"accept"), query))
        except Exception as error:  # noqa: BLE001  # a defect in one route must not end the server; it is reported
            self._service.report(error)
            response = _FAILED
        if isinstance(response.body, bytes) or request.method == b"HEAD":
            self._send(response, headers, send_body=request.method == b"GET")
        else:
            self._gzip = accepts_gzip(_header(request, b"accept-encoding"))
            key = target, response.content_type
            self._rendering = self._service.renderer.join(self, key, response, response.body)

    def _send(self, response: Response, headers: Mapping[str, str] | None = None, *, send_body: bool = True) -> None:
        body = response.body if isinstance(response.body, bytes) else None
        length = {} if body is None else {"Content-Length": str(len(body))}
        self._send_head(response, {**length, **(headers or {})})
        self._pieces = iter([body] if body and send_body else [])

    def _send_head(self, response: Response, headers: Mapping[str, str]) -> None:
        always = {"Server": "monlat", "Date": formatdate(usegmt=True), "Content-Type": response.content_type}
        head = h11.Response(
            status_code=response.status, reason=response.status.phrase, headers=list({**always, **headers}.items())
        )
        self._write(head)

    def _write(self, event: h11.Event) -> None:
        self._transport.write(self._h11.send(event) or b"")

    def _finish(self) -> None:
        self._pieces = None
        self._leave_rendering()
        self._write(h11.EndOfMessage())
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._enter(answering=False)
        else:
            self._transport.close()

    def _leave_rendering(self) -> None:
        if self._rendering is not None:
            self._service.renderer.leave(self, self._rendering)
            self._rendering = None

    def _enter(self, *, answering: bool) -> None:
        """Begin a phase and its time limit."""
        limits = self._service.limits
        self._answering, self._since, self._ahead = answering, self._loop.time(), 0
        self._timer.cancel()
        self._timer = self._loop.call_later(limits.answer_seconds if answering else limits.idle_seconds, self.abort)


_FAILED: Final = Response(b"the agent failed to answer; its log says why\n", status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _header(request: h11.Request, name: bytes) -> str:
    return ", ".join(value.decode("latin-1") for found, value in request.headers if found == name)
