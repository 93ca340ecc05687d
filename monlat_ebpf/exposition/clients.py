"""Which connections hold a worker, how long, and which one gives way when all workers are held.

A connection is in one of two phases: the server reads, or waits for, a request; or it answers one. Only the
time in the phase counts, so a client cannot hold a worker longer by sending or reading a byte now and then.
A connection is ended by shutting its socket down, which wakes its worker from whatever it waits for.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much clients may take of the server."""

    clients: int = 16
    """Connections, and so threads, at once."""
    idle_seconds: float = 75.0
    """To send a request: past the usual scrape interval of a minute, so that Prometheus keeps its connection."""
    answer_seconds: float = 30.0
    """To take an answer; Prometheus itself gives up after 10."""
    grace_seconds: float = 5.0
    """An answer younger than this does not give way to a newcomer."""


@dataclass(slots=True, eq=False)
class Client:
    """A connection that holds a worker; `since` is when its phase began, seconds of a monotonic clock."""

    connection: socket.socket
    since: float
    answering: bool = False
    shut: bool = False


def overdue(clients: Collection[Client], now: float, limits: Limits) -> list[Client]:
    """Return the clients that have been in their phase for too long."""
    return [
        client
        for client in clients
        if now - client.since > (limits.answer_seconds if client.answering else limits.idle_seconds)
    ]


def to_displace(clients: Collection[Client], now: float, limits: Limits) -> Client | None:
    """Return the client that gives way to a newcomer: who waits longest without a request, else the slowest reader.

    None while all are being answered and none of them is slow.
    """
    idle = [client for client in clients if not client.answering]
    slow = [client for client in clients if client.answering and now - client.since > limits.grace_seconds]
    return min(idle or slow, key=lambda client: client.since, default=None)


class Clients:
    """The connections of one server, each with its worker."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._clients: dict[socket.socket, Client] = {}
        self._left = threading.Condition()
        self._closed = False

    def admit(self, connection: socket.socket) -> bool:
        """Take in `connection`, waiting until there is room; False when the server closes meanwhile."""
        with self._left:
            while len(self._clients) >= self._limits.clients and not self._closed:
                staying = [client for client in self._clients.values() if not client.shut]
                if victim := to_displace(staying, self._clock(), self._limits):
                    _shut_down(victim)
                self._left.wait(0.05)  # a slow reader becomes one without telling
                self.shut_overdue()
            if not self._closed:
                self._clients[connection] = Client(connection, self._clock())
            return not self._closed

    def enter(self, connection: socket.socket, *, answering: bool) -> None:
        """Begin a phase of `connection`."""
        with self._left:
            client = self._clients[connection]
            client.since, client.answering = self._clock(), answering

    def leave(self, connection: socket.socket) -> None:
        """Forget `connection`: its worker is done."""
        with self._left:
            self._clients.pop(connection, None)
            self._left.notify_all()

    def shut_overdue(self) -> None:
        """End the connections that have been in their phase for too long."""
        with self._left:
            for client in overdue(self._clients.values(), self._clock(), self._limits):
                _shut_down(client)

    def close(self, timeout: float) -> None:
        """End all connections, admit no more, and wait up to `timeout` seconds for the workers."""
        with self._left:
            self._closed = True
            for client in self._clients.values():
                _shut_down(client)
            self._left.notify_all()
            self._left.wait_for(lambda: not self._clients, timeout)


def _shut_down(client: Client) -> None:
    client.shut = True
    with contextlib.suppress(OSError):  # the other side was quicker
        client.connection.shutdown(socket.SHUT_RDWR)
