"""A small HTTP server for scrapers: dual stack, few threads, and no client can keep it from serving others.

It answers GET and HEAD from a table of routes, keeps connections alive, and streams answers that come in chunks.
What a route raises is answered with 500, counted by exception, and logged the first time; a client that goes
away is nobody's error.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from itertools import chain
from typing import Final

from monlat_ebpf.exposition.clients import Clients, Limits
from monlat_ebpf.exposition.listener import listen

_log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.1  # how soon the loop notices that it shall end, and that a client is overdue

PLAIN_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """What a route may want to know of a request."""

    accept: str = ""
    """The Accept header, "" without one."""
    query: str = ""
    """What follows the question mark, still encoded; "" without one."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; a `body` of chunks is sent as they come."""

    body: bytes | Iterator[bytes]
    content_type: str = PLAIN_TEXT
    status: HTTPStatus = HTTPStatus.OK


Route = Callable[[Request], Response]


class MetricsServer(socketserver.BaseServer):
    """Listens on `port` from the moment it is made, answers between `start` and `close`.

    `routes` maps a path to what answers it. `count_error` is called with the name of each exception that a
    route raised. With port 0, `port` says which one was found. Raises ConfigError when it cannot listen.
    """

    def __init__(
        self,
        host: str,
        port: int,
        routes: Mapping[str, Route],
        *,
        limits: Limits | None = None,
        count_error: Callable[[str], None] = lambda kind: None,
    ) -> None:
        self._listener = listen(host, port)
        self._listener.setblocking(False)
        address = self._listener.getsockname()
        super().__init__(address, _Handler)
        self.port: Final[int] = address[1]
        self.routes = routes
        self.clients = Clients(limits or Limits())
        self.errors: Counter[str] = Counter()
        self._count_error = count_error
        self._errors_lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Answer requests, in threads of its own."""
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end all connections, within half a second; a second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self.clients.close(timeout=0.1)
        if self._thread is not None:
            self.shutdown()
        self._listener.close()

    def __enter__(self) -> MetricsServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def report(self, error: Exception) -> None:
        """Count `error` by its name, and log the first of that name."""
        kind = type(error).__name__
        with self._errors_lock:
            self.errors[kind] += 1
            first = self.errors[kind] == 1
        self._count_error(kind)
        if first:
            _log.error("HTTP: %s; counted from now on, not logged again", error, exc_info=error)

    # What socketserver.BaseServer asks of a server.

    def fileno(self) -> int:
        """Return the listener's descriptor, for the loop to wait on."""
        return self._listener.fileno()

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection."""
        try:
            return self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            raise  # the client went away before its turn; the loop goes on
        except OSError as error:
            self.report(error)
            self._closing.wait(0.1)  # out of descriptors, most likely: the connection stays, and so would the error
            raise

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]  # no UDP
        """Give the connection a thread, once there is one to be had."""
        if not self.clients.admit(request):
            request.close()
            return
        worker = threading.Thread(target=self._serve, args=(request, client_address), name="http-client", daemon=True)
        try:
            worker.start()
        except RuntimeError as error:  # the process may have no more threads
            self.report(error)
            self.clients.leave(request)
            request.close()

    def service_actions(self) -> None:
        """Look after overdue clients; the loop calls this at every turn."""
        self.clients.shut_overdue()

    def _serve(self, connection: socket.socket, address: object) -> None:
        try:
            _Handler(connection, address, self)
        except OSError:
            pass  # the client went away, or was sent away
        except Exception as error:  # noqa: BLE001  # the last frame of a thread: what gets here is a defect, and shows
            self.report(error)
        finally:
            self.clients.leave(connection)
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, answers each from the server's routes."""

    server: MetricsServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    error_content_type = PLAIN_TEXT
    error_message_format = "%(message)s\n"

    def version_string(self) -> str:
        """Return the Server header: neither Python's version nor ours is a stranger's business."""
        return "monlat"

    def handle_one_request(self) -> None:
        self.server.clients.enter(self.connection, answering=False)
        super().handle_one_request()

    def do_GET(self) -> None:
        self._answer(send_body=True)

    def do_HEAD(self) -> None:
        self._answer(send_body=False)

    def _refuse(self) -> None:
        self.close_connection = True  # its body was not read
        body = b"only GET and HEAD are served here\n"
        self._send_head(Response(body, status=HTTPStatus.METHOD_NOT_ALLOWED), {"Allow": "GET, HEAD"}, len(body))
        self.wfile.write(body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a scrape a second is no news."""

    def _answer(self, *, send_body: bool) -> None:
        self.server.clients.enter(self.connection, answering=True)
        has_body = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
        if self.request_version != "HTTP/1.1" or has_body:
            self.close_connection = True
        response = self._respond()
        if isinstance(response.body, bytes):
            self._send_head(response, {}, len(response.body))
            if send_body:
                self.wfile.write(response.body)
        else:
            chunked = self.request_version == "HTTP/1.1"
            self._send_head(response, {"Transfer-Encoding": "chunked"} if chunked else {}, None)
            if send_body:
                self._stream(response.body, chunked=chunked)

    def _respond(self) -> Response:
        """Return the route's response, its first chunk made, so that most of what can fail still becomes a 500."""
        path, _, query = self.path.partition("?")
        route = self.server.routes.get(path)
        if route is None:
            paths = "  ".join(self.server.routes)
            return Response(f"nothing here; there is {paths}\n".encode(), status=HTTPStatus.NOT_FOUND)
        try:
            response = route(Request(accept=self.headers.get("Accept", ""), query=query))
            if isinstance(response.body, bytes):
                return response
            first = next(response.body, b"")
            return Response(chain([first], response.body), response.content_type, response.status)
        except Exception as error:  # noqa: BLE001  # a defect in one answer must not end the server; it is reported
            self.server.report(error)
            body = b"the agent failed to answer; its log says why\n"
            return Response(body, status=HTTPStatus.INTERNAL_SERVER_ERROR)

    def _send_head(self, response: Response, headers: Mapping[str, str], length: int | None) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _stream(self, chunks: Iterator[bytes], *, chunked: bool) -> None:
        while True:
            try:
                chunk = next(chunks, None)
            except Exception as error:  # noqa: BLE001  # too late for a 500: the missing end tells the client
                self.server.report(error)
                self.close_connection = True
                return
            if chunk is None:
                break
            if chunk:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
