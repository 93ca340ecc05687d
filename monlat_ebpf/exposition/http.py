"""The HTTP server for scrapers: an event loop in a thread of its own, and one thread that renders.

messages.py    what routes get and return; rendering.py  the thread that renders
connection.py  one connection, parsed by h11; service.py, clients.py and turns.py  what all of them share
listener.py    the listening sockets; acceptor.py  takes their connections; target.py  what a request asks for
security.py    who is served; tls_stream.py  TLS of a connection; passwords.py  the thread that compares passwords

What a route raises is answered with 500, counted by exception, and logged the first time. A client that goes away
is no error. docs/http-server.md compares it with other servers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from monlat_ebpf.exposition.acceptor import Acceptor
from monlat_ebpf.exposition.clients import Clients
from monlat_ebpf.exposition.connection import Connection
from monlat_ebpf.exposition.listener import listen
from monlat_ebpf.exposition.messages import PLAIN_TEXT, Limits, Request, Response, Route
from monlat_ebpf.exposition.passwords import Passwords
from monlat_ebpf.exposition.rendering import Renderer
from monlat_ebpf.exposition.security import OPEN, Security
from monlat_ebpf.exposition.service import Service
from monlat_ebpf.exposition.turns import Turns

__all__ = ["PLAIN_TEXT", "Limits", "MetricsServer", "Request", "Response", "Route"]

_LOG = logging.getLogger(__name__)

_SEND_BUFFER_BYTES: Final = (
    128 * 1024
)  # a slow reader fills it; the kernel's own choice is megabytes, charged to the pod


class MetricsServer:
    """Listens on `addresses`, hosts and ports, from the moment it is made, answers between `start` and `close`.

    `routes` maps a path to what answers it. `count_error` is called with the name of each exception that a
    route raised. `security` says who is served. With port 0, `ports` says which one was found. Raises ConfigError when
    it cannot listen.
    """

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        routes: Mapping[str, Route],
        *,
        limits: Limits | None = None,
        count_error: Callable[[str], None] = lambda kind: None,
        security: Callable[[], Security] = lambda: OPEN,
    ) -> None:
        with ExitStack() as opened:
            self._listeners = [opened.enter_context(listen(host, port)) for host, port in addresses]
            opened.pop_all()
        for listener in self._listeners:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)  # its connections inherit it
        self.ports: Final[Sequence[int]] = [listener.getsockname()[1] for listener in self._listeners]
        self.errors: Counter[str] = Counter()
        self._routes = routes
        self._limits = limits or Limits()
        self._count_error = count_error
        self._security = security
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Answer requests, in threads of its own."""
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(self._report_from_loop)
        self._renderer = Renderer(self._limits.renderings, loop.call_soon_threadsafe)
        self._passwords = Passwords(loop.call_soon_threadsafe)
        self._service = Service(
            self._routes,
            self._limits,
            self._renderer,
            self._report,
            self._security,
            self._passwords,
            Clients(self._limits.clients),
            Turns(loop.call_soon),
        )
        self._acceptors = [
            Acceptor(
                loop,
                listener,
                lambda: Connection(self._service),
                self._report,
                self._limits.waiting,
                has_tls=lambda: self._security().context is not None,
            )
            for listener in self._listeners
        ]
        for acceptor in self._acceptors:
            acceptor.start()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="http", daemon=True)
        self._thread.start()
        self._loop = loop  # from here on, `close` has a thread to end

    def close(self) -> None:
        """Stop listening and end all connections, within half a second; a second call does nothing."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(0.3)
            self._renderer.close(0.1)
            self._passwords.close()
        for listener in self._listeners:
            listener.close()

    def __enter__(self) -> MetricsServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port of the first address."""
        return self.ports[0]

    @property
    def clients(self) -> int:
        """How many connections are open."""
        return len(self._service.clients)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        for acceptor in self._acceptors:
            loop.run_until_complete(acceptor.stop())
        for client in self._service.clients:
            client.abort()
        loop.run_until_complete(asyncio.sleep(0))  # the connections close in this turn
        loop.close()

    def _report(self, error: Exception) -> None:
        """Count `error` by its name, and log the first of that name."""
        kind = type(error).__name__
        if not self.errors[kind]:
            _LOG.error("HTTP: %s; counted from now on, not logged again", error, exc_info=error)
        self.errors[kind] += 1
        self._count_error(kind)

    def _report_from_loop(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._report(error if isinstance(error, Exception) else RuntimeError(context["message"]))
