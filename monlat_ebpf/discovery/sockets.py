"""Aborts requests from another thread, by shutting down their sockets.

urllib3's own HTTPResponse.shutdown exists only once the server has answered, and a request may hang before that.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from weakref import WeakSet

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Sockets:
    """The open sockets of the pools that `pool_classes` returns.

    Shutting a socket down ends a read in another thread; closing it would not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._aborted = False

    def add(self, connected: object) -> None:
        """Register a new socket. Shut it down if `abort` was called before."""
        if isinstance(connected, socket.socket):
            with self._lock:
                self._sockets.add(connected)
                if self._aborted:
                    _shut_down(connected)

    def abort(self) -> None:
        """Shut down all sockets, and every later one."""
        with self._lock:
            self._aborted = True
            for each in self._sockets:
                _shut_down(each)


def pool_classes(sockets: Sockets) -> dict[str, type[HTTPConnectionPool]]:
    """Return classes for urllib3's `PoolManager.pool_classes_by_scheme` that register their sockets in `sockets`."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _shut_down(connected: socket.socket) -> None:
    with suppress(OSError):  # closed already
        # Not SSLSocket.shutdown: it removes the TLS state while the other thread still reads.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
