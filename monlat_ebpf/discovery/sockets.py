"""Ending from outside what another thread waits for on its sockets."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from weakref import WeakSet

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Sockets:
    """The sockets of the pools made by `pool_classes`, as long as they live.

    A read in one thread ends when another shuts the socket down; closing it would not wake the reader.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._hung_up = False

    def add(self, connected: object) -> None:
        """Know a socket just connected; it is shut down at once if all were hung up meanwhile."""
        if isinstance(connected, socket.socket):
            with self._lock:
                self._sockets.add(connected)
                if self._hung_up:
                    _shut_down(connected)

    def abort(self) -> None:
        """Shut down all sockets, and any that follows."""
        with self._lock:
            self._hung_up = True
            for each in self._sockets:
                _shut_down(each)


def pool_classes(sockets: Sockets) -> dict[str, type[HTTPConnectionPool]]:
    """Return classes for urllib3's `PoolManager.pool_classes_by_scheme` whose connections tell `sockets`."""

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
        # Not ssl.SSLSocket's own method: it takes the TLS state away from under the reading thread.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
