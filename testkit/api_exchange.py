"""HTTP exchanges of the fake API server: what it knows, and how it answers a list and a watch honestly."""

from __future__ import annotations

import gzip
import json
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from testkit.fake_apiserver import FakeApiServer

COMPRESSED_FROM = 128 * 1024
"""Bytes. What is longer kube-apiserver compresses, for a client that accepts gzip, at the fastest level."""

Json = dict[str, Any]
Answer = Callable[["Exchange"], None]


@dataclass(frozen=True)
class Request:
    """A received request. `at` is monotonic time in seconds."""

    at: float
    watch: bool
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class State:
    """The data of the server, guarded by `changed`, which is notified of every change.

    `body_bytes` counts the bytes of all bodies but those of watches, as they were sent.
    """

    changed: threading.Condition = field(default_factory=threading.Condition)
    version: int = 1000
    oldest: int = 0
    slices: dict[str, Json] = field(default_factory=dict)
    events: list[tuple[int, bytes]] = field(default_factory=list)
    pages: dict[str, tuple[int, list[Json]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    watches: int = 0
    body_bytes: int = 0
    stopping: bool = False


class Exchange(BaseHTTPRequestHandler):
    """One connection. An Answer is a function that takes it."""

    protocol_version = "HTTP/1.1"
    server: HttpServer
    query: dict[str, str]
    request: socket.socket

    @property
    def watch(self) -> bool:
        return self.query.get("watch", "").lower() == "true"

    @property
    def state(self) -> State:
        return self.server.fake.state

    def setup(self) -> None:
        self.server.connections.add(self.request)
        if self.server.fake.tls is not None:
            self.request = self.server.fake.tls.wrap_socket(self.request, server_side=True)
            self.server.connections.add(self.request)
        super().setup()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()
        self.server.connections.discard(self.request)
        self.request.close()

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        self.query = dict(parse_qsl(address.query))
        fake = self.server.fake
        with self.state.changed:
            self.state.requests.append(Request(time.monotonic(), self.watch, self.query, dict(self.headers)))
            self.state.changed.notify_all()
        if address.path != fake.path:
            self.send_status(404, "the server could not find the requested resource")
        elif fake.bearer and self.headers.get("Authorization") != f"Bearer {fake.bearer}":
            self.send_status(401, "Unauthorized")
        else:
            fake.answer(self)

    def send_status(self, code: int, message: str = "", headers: dict[str, str] | None = None) -> None:
        self.send_json({"kind": "Status", "code": code, "message": message, "status": "Failure"}, code, headers)

    def send_json(self, body: object, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_body(json.dumps(body).encode(), code, headers)

    def send_body(self, text: bytes, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        length = {"Content-Type": "application/json", "Content-Length": str(len(text))}
        for name, value in {**(headers or {}), **length}.items():
            self.send_header(name, value)
        self.end_headers()
        with self.state.changed:
            self.state.body_bytes += len(text)
        self.wfile.write(text)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def is_over(self) -> bool:
        """Return whether the client has closed the connection, or the server stops."""
        return self.state.stopping or bool(select.select([self.request], [], [], 0)[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: tests use requests()."""


class HttpServer(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for all threads, so a hanging one fails the test

    def __init__(self, address: tuple[str, int], fake: FakeApiServer) -> None:
        self.fake = fake
        self.connections: set[socket.socket] = set()
        super().__init__(address, Exchange)

    def abort(self) -> None:
        for each in list(self.connections):
            with suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: here clients close connections during an answer on purpose."""


def honest(exchange: Exchange) -> None:
    """Answer as an API server does."""
    if exchange.watch:
        _watch(exchange)
    else:
        _list(exchange)


def _list(exchange: Exchange) -> None:
    state, query = exchange.state, exchange.query
    with state.changed:
        if "continue" in query:
            found = state.pages.pop(query["continue"], None)
            if found is None:
                exchange.send_status(410, "The provided continue parameter is too old")
                return
            version, items = found
        else:
            label, _, value = query.get("labelSelector", "").partition("=")
            version = state.version
            items = [each for each in state.slices.values() if each["metadata"]["labels"].get(label) == value]
        limit = int(query.get("limit", "0")) or len(items)
        metadata = {"resourceVersion": str(version)}
        if items[limit:]:
            metadata["continue"] = f"{version}-{len(items) - limit}"
            state.pages[metadata["continue"]] = version, items[limit:]
    text = json.dumps({"kind": "EndpointSliceList", "metadata": metadata, "items": items[:limit]}).encode()
    if len(text) > COMPRESSED_FROM and exchange.headers.get("Accept-Encoding") == "gzip":
        exchange.send_body(gzip.compress(text, 1), headers={"Content-Encoding": "gzip"})
    else:
        exchange.send_body(text)


def _watch(exchange: Exchange) -> None:
    state, query = exchange.state, exchange.query
    version = int(query["resourceVersion"])
    deadline = time.monotonic() + float(query.get("timeoutSeconds", "1800"))
    exchange.begin_stream()
    if version < state.oldest:
        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
        exchange.send_chunk(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
        exchange.end_stream()
        return
    with state.changed:
        state.watches += 1
        state.changed.notify_all()
    try:
        while time.monotonic() < deadline and not exchange.is_over():
            with state.changed:
                due = [each for each in state.events if each[0] > version]
                if not due:
                    state.changed.wait(0.02)  # short, to notice that the client has closed the connection
                    continue
            version = due[-1][0]
            exchange.send_chunk(b"".join(line for _, line in due))
        if not exchange.is_over():
            exchange.end_stream()
    finally:
        with state.changed:
            state.watches -= 1
            state.changed.notify_all()
