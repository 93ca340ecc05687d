"""One HTTP connection: h11 parses the requests, the routes answer them, and a timer limits each phase.

With TLS, the handshake is part of waiting for the first request.

A connection is in one of two phases: it waits for a request, or it answers one. Only the time in the phase counts,
so a client cannot stay longer by sending or reading a byte now and then.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, cast

import h11

from monlat_ebpf.exposition.messages import FAILED, NOT_ALLOWED, Request, Response
from monlat_ebpf.exposition.negotiation import accepts_gzip
from monlat_ebpf.exposition.passwords import REFUSALS, Answer
from monlat_ebpf.exposition.rendering import Rendering
from monlat_ebpf.exposition.security import OPEN_PATHS, Security
from monlat_ebpf.exposition.service import Service
from monlat_ebpf.exposition.target import path_and_query
from monlat_ebpf.exposition.tls_stream import PLAIN_HTTP, TlsStream

LONGEST_TARGET: Final = 8000  # bytes; RFC 9112, section 3: support at least as many
LONGEST_HEAD: Final = 32 * 1024  # bytes of request line and headers; a request's headers are some 300 bytes

_REQUESTS_A_TURN: Final = 16  # of one client that sent many at once, then the event loop serves the others


class Connection(asyncio.Protocol):
    """Reads requests and answers each from the routes; all methods run in the event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
        self._gzip = False
        self._is_head = False
        self._headers: Mapping[str, str] = {}  # of the answer that is being rendered
        self._paused = False
        self._ahead = 0  # bytes received while a request is being answered
        self._tls: TlsStream | None = None
        self._is_checking = False  # a password
        self._rendering: Rendering | None = None
        self._pieces: Iterator[bytes] | None = None

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the client; where there are too many, another one ends."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1)  # pause at once; 0 would stall asyncio over TLS
        self._service.clients.admit(self)
        if context := self._service.security().context:
            self._tls = TlsStream(context)
        self._timer = self._loop.call_soon(lambda: None)
        self._enter(is_answered=False)

    def data_received(self, data: bytes) -> None:
        """Parse what came; a client that sends far ahead of its answers is ended."""
        if self._tls is not None:
            data = self._decrypt(self._tls, data)
        self._ahead += len(data) if self.is_answered else 0
        if self._ahead > LONGEST_HEAD:
            self.abort()
            return
        if data:
            self._h11.receive_data(data)
        self._advance()
        if self._tls is not None and self._tls.is_ended and not self.is_answered:
            self._close()

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
        self._service.clients.leave(self)
        self._leave_rendering()

    # called by the renderer

    def rendered(self, rendering: Rendering) -> None:
        """Send the body that this client has waited for."""
        if rendering.error is not None:
            self._service.report(rendering.error)
            self._leave_rendering()
            self._send(FAILED)
        else:
            length = rendering.compressed_length if self._gzip else rendering.length
            encoding = {"Content-Encoding": "gzip"} if self._gzip else {}
            self._send_head(
                rendering.response,
                {"Content-Length": str(length), "Vary": "Accept-Encoding", **encoding, **self._headers},
            )
            self._pieces = rendering.pieces(compressed=self._gzip)
        self._advance()

    def abort(self) -> None:
        """End the connection at once."""
        self._service.clients.leave(self)
        self._transport.abort()

    # in this order for each request

    def _advance(self) -> None:
        """Go on as far as the requests that came and the client's reading allow."""
        for _ in range(_REQUESTS_A_TURN):
            if self._paused or self._transport.is_closing():
                return
            if self._pieces is not None:
                self._service.turns.join(self)
                return
            if self._is_checking or self._rendering is not None or not self._read_request():
                return
        self._loop.call_soon(self._advance)

    def take_turn(self) -> None:
        """Send one piece of a rendered body; after the last one, go on with the next request."""
        if self._paused or self._transport.is_closing() or self._pieces is None:
            return
        piece = next(self._pieces, None)
        if piece is None:
            self._finish()
        else:
            self._write(h11.Data(data=piece))
        self._advance()

    def _read_request(self) -> bool:
        """Begin to answer the next request; False when there is none yet."""
        self._is_head = False
        try:
            event = self._h11.next_event()
            if not isinstance(event, h11.Request):
                return False  # more is to come
            self._enter(is_answered=True)
            self._is_head = event.method == b"HEAD"
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
        self._enter(is_answered=True)
        self._send(Response(f"{status.phrase}\n".encode(), status=status), {"Connection": "close"})

    def _answer(self, request: h11.Request, headers: Mapping[str, str]) -> None:
        target = path_and_query(request.target.decode("latin-1"))
        if target is None:
            if request.method in (b"OPTIONS", b"CONNECT"):  # `*` and host:port are theirs
                self._send(NOT_ALLOWED, {**headers, "Connection": "close"})
            else:
                self._refuse(HTTPStatus.BAD_REQUEST)
            return
        security = self._service.security()
        if self._tls is not None and self._tls.context is not security.context:
            headers = {**headers, "Connection": "close"}  # the next request comes under the new certificates
        if target[0] in OPEN_PATHS:
            self._answer_admitted(request, target, headers)
        elif reason := security.why_not(self._tls.names() if self._tls else None):
            self._send(Response(f"{reason}\n".encode(), status=HTTPStatus.FORBIDDEN), headers)
        elif security.users:
            self._check_password(request, target, headers, security)
        else:
            self._answer_admitted(request, target, headers)

    def _check_password(
        self, request: h11.Request, target: tuple[str, str], headers: Mapping[str, str], security: Security
    ) -> None:
        def act(answer: Answer) -> None:
            if answer is Answer.RIGHT:
                self._answer_admitted(request, target, headers)
            elif answer is not Answer.PENDING:
                self._send(REFUSALS[answer], headers)

        def checked(is_right: bool) -> None:
            self._is_checking = False
            if not self._transport.is_closing():
                act(Answer.RIGHT if is_right else Answer.WRONG)
                self._advance()

        client = str((self._transport.get_extra_info("peername") or [""])[0])
        answer = self._service.passwords.check(_header(request, b"authorization"), security.users, client, checked)
        self._is_checking = answer is Answer.PENDING
        act(answer)

    def _answer_admitted(self, request: h11.Request, target: tuple[str, str], headers: Mapping[str, str]) -> None:
        if request.method not in (b"GET", b"HEAD"):
            self._send(NOT_ALLOWED, headers)
            return
        path, query = target
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
            response = FAILED
        if isinstance(response.body, bytes) or self._is_head:
            self._send(response, headers)
        else:
            self._gzip, self._headers = accepts_gzip(_header(request, b"accept-encoding")), headers
            key = target, response.content_type
            self._rendering = self._service.renderer.join(self, key, response, response.body)

    def _send(self, response: Response, headers: Mapping[str, str] | None = None) -> None:
        body = response.body if isinstance(response.body, bytes) else None
        length = {} if body is None else {"Content-Length": str(len(body))}
        self._send_head(response, {**length, **(headers or {})})
        if body and not self._is_head:
            self._write(h11.Data(data=body))
        self._finish()

    def _send_head(self, response: Response, headers: Mapping[str, str]) -> None:
        always = {"Server": "monlat", "Date": formatdate(usegmt=True), "Content-Type": response.content_type}
        always = {**self._service.security().headers, **always, **response.headers}
        head = h11.Response(
            status_code=response.status, reason=response.status.phrase, headers=list({**always, **headers}.items())
        )
        self._write(head)

    def _write(self, event: h11.Event) -> None:
        data = self._h11.send(event) or b""
        if self._tls is not None:
            try:
                data = self._tls.send(data)
            except ssl.SSLError:  # the client has broken the TLS session off
                self.abort()
                return
        self._transport.write(data)

    def _decrypt(self, tls: TlsStream, data: bytes) -> bytes:
        """Return what the client says in TLS; after an error, close."""
        try:
            return tls.receive(data)
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                self._transport.write(PLAIN_HTTP)
            self._transport.close()
            return b""
        finally:
            if answer := tls.pending():
                self._transport.write(answer)

    def _close(self) -> None:
        if self._tls is not None:
            self._transport.write(self._tls.end())
        self._transport.close()

    def _finish(self) -> None:
        self._pieces = None
        self._leave_rendering()
        self._write(h11.EndOfMessage())
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._enter(is_answered=False)
        else:
            self._close()

    def _leave_rendering(self) -> None:
        if self._rendering is not None:
            self._service.renderer.leave(self, self._rendering)
            self._rendering = None

    def _enter(self, *, is_answered: bool) -> None:
        """Begin a phase and its time limit."""
        limits = self._service.limits
        self.is_answered, self.since, self._ahead = is_answered, self._loop.time(), 0
        self._timer.cancel()
        self._timer = self._loop.call_later(limits.answer_seconds if is_answered else limits.idle_seconds, self.abort)


def _header(request: h11.Request, name: bytes) -> str:
    return ", ".join(value.decode("latin-1") for found, value in request.headers if found == name)
