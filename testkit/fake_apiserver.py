"""A small API server for the bad days: EndpointSlices of one namespace, over real sockets.

It imitates kube-apiserver 1.3x in what a list and a watch of endpointslices meet:

- list: label selector, `limit` and `continue` over a consistent snapshot, the list's resourceVersion;
- watch: chunked, one JSON event a line, from a resourceVersion on, `timeoutSeconds`, bookmarks when they are asked
  for and the test says so, an ERROR event with code 410 for a version that was compacted away;
- Status objects for errors, bearer tokens, TLS.

It does not imitate authorization rules, field selectors, resourceVersionMatch, other resources, or writing through
the API: the test changes the slices by method calls. What goes wrong is chosen by setting `answer` to one of the
functions of api_faults.py; each takes the place of the honest answer for all requests until it is reset.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

LABEL = "kubernetes.io/service-name"
Json = dict[str, Any]
Answer = Callable[["Exchange"], None]


def endpoint(node: str, address: str, *, zone: str = "a", serving: bool = True, terminating: bool = False) -> Json:
    """Return one endpoint as the controller writes it for a Service with publishNotReadyAddresses."""
    return {
        "addresses": [address],
        "conditions": {"ready": True, "serving": serving, "terminating": terminating},
        "nodeName": node,
        "zone": zone,
        "targetRef": {"kind": "Pod", "name": f"monlat-agent-{node}", "namespace": "monlat"},
    }


def endpoint_slice(name: str, *endpoints: Json, kind: str = "IPv4", service: str = "monlat-agents") -> Json:
    """Return an EndpointSlice; the server gives it its resourceVersion."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "monlat", "labels": {LABEL: service}},
        "addressType": kind,
        "endpoints": list(endpoints),
        "ports": [],
    }


@dataclass(frozen=True)
class Request:
    """A request that came; `at` is on the monotonic clock, in seconds."""

    at: float
    watch: bool
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class State:
    """What the server knows; guarded by `changed`, which is notified of all that happens."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    version: int = 1000
    oldest: int = 0
    slices: dict[str, Json] = field(default_factory=dict)
    events: list[tuple[int, bytes]] = field(default_factory=list)
    pages: dict[str, tuple[int, list[Json]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    watches: int = 0
    hanging_up: bool = False


class FakeApiServer:
    """The server; use it as a context manager. It asks for `bearer`, a token, and speaks `tls`, certificate and key."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        namespace: str = "monlat",
        bearer: str = "",
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self.namespace = namespace
        self.bearer = bearer
        self.answer: Answer = honest
        self.state = State()
        self.tls: ssl.SSLContext | None = None
        if tls is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def up(self) -> None:
        """Listen, after down() on the same port again."""
        self.state.hanging_up = False
        self._server = _Server((self.host, self.port), self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fake-apiserver")
        self._thread.start()

    def down(self) -> None:
        """Close the listener and every connection; what the server knows stays."""
        if self._server is None:
            return
        with self.state.changed:
            self.state.hanging_up = True
            self.state.changed.notify_all()
        self._server.shutdown()
        self._server.abort()
        self._server.server_close()
        self._thread.join()
        self._server = None

    def kubeconfig(self, file: Path) -> Path:
        """Write a kubeconfig that leads here, and return its path."""
        user = {"token": self.bearer} if self.bearer else {}
        context = {"cluster": "fake", "user": "fake", "namespace": self.namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": user}],
            "contexts": [{"name": "fake", "context": context}],
            "current-context": "fake",
        }
        file.write_text(json.dumps(config))
        return file

    def put(self, *slices: Json) -> None:
        """Add or replace slices, each a change of its own, all in one instant."""
        with self.state.changed:
            for each in slices:
                name = each["metadata"]["name"]
                kind = "MODIFIED" if name in self.state.slices else "ADDED"
                told = self._next_version(each)
                self.state.slices[name] = told
                self._tell(kind, told)

    def delete(self, *names: str) -> None:
        """Remove slices, each a change of its own, all in one instant."""
        with self.state.changed:
            for name in names:
                self._tell("DELETED", self._next_version(self.state.slices.pop(name)))

    def bookmark(self) -> None:
        """Tell all watches a newer version, without a change."""
        with self.state.changed:
            self.state.version += 1
            metadata = {"resourceVersion": str(self.state.version)}
            self._tell("BOOKMARK", {"kind": "EndpointSlice", "metadata": metadata})

    def say(self, line: bytes) -> None:
        """Send a line to all watches as it stands."""
        with self.state.changed:
            self.state.version += 1
            self.state.events.append((self.state.version, line + b"\n"))
            self.state.changed.notify_all()

    def compact(self) -> None:
        """Forget all events so far: a watch from before is answered with 410."""
        with self.state.changed:
            self.state.version += 1
            self.state.oldest = self.state.version

    def requests(self, *, watch: bool | None = None) -> list[Request]:
        with self.state.changed:
            return [each for each in self.state.requests if watch is None or each.watch == watch]

    def wait_for_requests(self, count: int, *, watch: bool | None = None, seconds: float = 20) -> None:
        """Return when `count` requests have come in all. Raises TimeoutError."""
        self._wait(lambda: len([r for r in self.state.requests if watch in (None, r.watch)]) >= count, seconds)

    def wait_for_watches(self, count: int, seconds: float = 20) -> None:
        """Return when `count` honest watches are open, 0 included. Raises TimeoutError."""
        self._wait(lambda: self.state.watches == count, seconds)

    def _wait(self, met: Callable[[], bool], seconds: float) -> None:
        with self.state.changed:
            if not self.state.changed.wait_for(met, seconds):
                raise TimeoutError(f"{len(self.state.requests)} requests came, {self.state.watches} watches are open")

    def _next_version(self, each: Json) -> Json:
        self.state.version += 1
        return {**each, "metadata": {**each["metadata"], "resourceVersion": str(self.state.version)}}

    def _tell(self, kind: str, told: Json) -> None:
        line = json.dumps({"type": kind, "object": told}).encode() + b"\n"
        self.state.events.append((self.state.version, line))
        self.state.changed.notify_all()


class Exchange(BaseHTTPRequestHandler):
    """One connection. Answers are functions of it."""

    protocol_version = "HTTP/1.1"
    server: _Server
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
        """Say whether the client has gone, or the server wants to."""
        return self.state.hanging_up or bool(select.select([self.request], [], [], 0)[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the tests ask for requests()."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for all: a thread that hangs is a fault of the test

    def __init__(self, address: tuple[str, int], fake: FakeApiServer) -> None:
        self.fake = fake
        self.connections: set[socket.socket] = set()
        super().__init__(address, Exchange)

    def abort(self) -> None:
        for each in list(self.connections):
            with suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients hang up in mid-answer as a matter of course here."""


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
    exchange.send_json({"kind": "EndpointSliceList", "metadata": metadata, "items": items[:limit]})


def _watch(exchange: Exchange) -> None:
    state, query = exchange.state, exchange.query
    version = int(query["resourceVersion"])
    deadline = time.monotonic() + float(query.get("timeoutSeconds", "1800"))
    exchange.begin_stream()
    if version < state.oldest:
        told = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
        exchange.send_chunk(json.dumps({"type": "ERROR", "object": told}).encode() + b"\n")
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
                    state.changed.wait(0.02)  # short, to notice a client that has gone
                    continue
            version = due[-1][0]
            exchange.send_chunk(b"".join(line for _, line in due))
        if not exchange.is_over():
            exchange.end_stream()
    finally:
        with state.changed:
            state.watches -= 1
            state.changed.notify_all()
