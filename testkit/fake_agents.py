"""Agents as a collector asks them: one for each node, on loopback addresses and one port, honest or not.

They imitate an agent's HTTP server as far as GET /api/v1/peers needs it. Each behaviour is a function that gets the
connection after the request was read, and the request's target.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import yaml

Behaviour = Callable[[socket.socket, str], None]

_STOP_SECONDS = 0.05  # how soon a behaviour that waits sees the end of a test


class FakeAgents:
    """A context manager. `behaviours[name]` may be replaced at any time; `requests[name]` counts.

    The agents listen on 127.0.1.1, 127.0.1.2 and so on, on `port`. With `context`, they speak TLS.
    """

    def __init__(self, names: Sequence[str], context: ssl.SSLContext | None = None) -> None:
        self.names = names
        self.behaviours: dict[str, Behaviour] = {}
        self.requests: Counter[str] = Counter()
        self.heads: dict[str, bytes] = {}
        self.stopping = threading.Event()
        self._context = context
        self._cleanup = ExitStack()
        self._threads: list[threading.Thread] = []

    def address(self, name: str) -> str:
        number = self.names.index(name) + 1
        return f"127.0.{1 + number // 250}.{1 + number % 250}"

    def write_peers(self, file: Path, zones: Sequence[str] = ()) -> Path:
        """Write a peers file; `zones` are of the nodes in their order."""
        entries = [{"name": name, "addresses": [self.address(name)]} for name in self.names]
        for entry, zone in zip(entries, zones, strict=False):
            entry["zone"] = zone
        file.write_text(yaml.safe_dump(entries))
        return file

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.port = 0
            for name in self.names:
                listener = opened.enter_context(socket.create_server((self.address(name), self.port), backlog=64))
                self.port = listener.getsockname()[1]
                listener.settimeout(_STOP_SECONDS)
                thread = threading.Thread(target=self._accept, args=(name, listener))
                self._threads.append(thread)
            self._cleanup = opened.pop_all()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join()
        self._cleanup.close()

    def _accept(self, name: str, listener: socket.socket) -> None:
        serving: list[threading.Thread] = []
        while not self.stopping.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            serving.append(threading.Thread(target=self._serve, args=(name, connection)))
            serving[-1].start()
            serving = [thread for thread in serving if thread.is_alive()]
        for thread in serving:
            thread.join()

    def _serve(self, name: str, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    received = connection.recv(65536)
                    if not received:
                        return
                    head += received
                self.requests[name] += 1
                self.heads[name] = head
                self.behaviours[name](connection, head.split(b" ")[1].decode())

    def hang(self, connection: socket.socket, _target: str) -> None:
        """Answer nothing."""
        self.stopping.wait(60)

    def hang_within(self, connection: socket.socket, _target: str) -> None:
        """Promise a body, and send half of it."""
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"a":')
        self.stopping.wait(60)

    def drip(self, connection: socket.socket, _target: str) -> None:
        """Send a byte of an endless head now and then."""
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not self.stopping.wait(_STOP_SECONDS):
            connection.sendall(b"x")


def honest(document: dict[str, Any]) -> Behaviour:
    """Answer with `document` as JSON; with the pairs to one peer alone when asked about one."""

    @cache
    def answer_to(target: str) -> Behaviour:
        wanted = parse_qs(urlsplit(target).query).get("peer")
        pairs = [pair for pair in document["pairs"] if not wanted or pair["to"] in wanted]
        return compressed(json.dumps({**document, "pairs": pairs}).encode())

    return lambda connection, target: answer_to(target)(connection, target)


def sending(body: bytes, *, headers: bytes = b"", status: bytes = b"200 OK") -> Behaviour:
    """Answer with `body`."""
    head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n" % (status, len(body), headers)
    return lambda connection, _target: connection.sendall(head + body)


def compressed(body: bytes) -> Behaviour:
    """Answer with `body`, compressed."""
    return sending(gzip.compress(body, 1), headers=b"Content-Encoding: gzip\r\n")


def endless(connection: socket.socket, _target: str) -> None:
    """Send chunks until the client has enough."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")


def ending(connection: socket.socket, _target: str) -> None:
    """End the connection within the body."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
