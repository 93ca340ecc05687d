"""Takes the connections of a listening socket."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from monlat_ebpf.exposition.security import OPEN_PATHS

_TAKEN_A_TURN: Final = 8  # few beside the limit of connections: who came before has asked when the next ones come
_LOOKED_AT_A_TURN: Final = 256
_PAUSE_SECONDS: Final = 1.0  # when the process has no descriptor or memory left
_RESET: Final = 7  # TCP_CLOSE, the first byte of struct tcp_info: the client has broken the connection off
_URGENT: Final = tuple(b"GET " + path.encode() for path in OPEN_PATHS)
_LONGEST_URGENT: Final = max(map(len, _URGENT))


class Acceptor:
    """Makes a connection of each client of a listening socket, a few in a turn of the event loop.

    To make and end one takes half a millisecond, and thousands may come at once. So those that ask for /healthz or
    /readyz come first, those that have left are not connected, and those for whom there is no room are closed. What a
    client of TLS asks for cannot be seen: these are taken in their order. asyncio's own server takes one in a turn.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
        report: Callable[[Exception], None],
        most_waiting: int,
        *,
        has_tls: Callable[[], bool] = lambda: False,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._make = make
        self._report = report
        self._most_waiting = most_waiting
        self._has_tls = has_tls
        self._urgent: deque[socket.socket] = deque()
        self._waiting: deque[socket.socket] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._is_scheduled = False
        listener.setblocking(False)

    def start(self) -> None:
        """Take connections from now on."""
        self._loop.add_reader(self._listener, self._accept)

    async def stop(self) -> None:
        """Take no more, and close all that have no connection yet."""
        self._loop.remove_reader(self._listener)
        for queue in (self._urgent, self._waiting):
            while queue:
                queue.popleft().close()
        if connecting := tuple(self._connecting):
            for task in connecting:
                task.cancel()
            await asyncio.wait(connecting)  # each closes its socket

    def _accept(self) -> None:
        has_tls = self._has_tls()
        for _ in range(_LOOKED_AT_A_TURN):
            if has_tls and len(self._waiting) >= self._most_waiting:
                break
            try:
                client, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                self._report(error)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_PAUSE_SECONDS, self.start)
                break
            if has_tls:
                self._waiting.append(client)
            else:
                self._sort(client)
        self._schedule()

    def _sort(self, client: socket.socket) -> None:
        """Let the client wait for its connection, or close it."""
        asked, has_left = b"", client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _RESET
        try:
            asked = client.recv(_LONGEST_URGENT, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            has_left = has_left or not asked
        except BlockingIOError:
            pass  # it has not asked yet
        except OSError:
            has_left = True
        queue = self._urgent if asked.startswith(_URGENT) else self._waiting
        if has_left or len(queue) >= self._most_waiting:
            client.close()
        else:
            queue.append(client)

    def _schedule(self) -> None:
        if (self._urgent or self._waiting) and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._connect_some)

    def _connect_some(self) -> None:
        self._is_scheduled = False
        for _ in range(min(_TAKEN_A_TURN, len(self._urgent) + len(self._waiting))):
            queue = self._urgent or self._waiting
            task = self._loop.create_task(self._connect(queue.popleft()))
            self._connecting.add(task)  # the loop itself keeps no task alive
            task.add_done_callback(self._connecting.discard)
        self._schedule()

    async def _connect(self, client: socket.socket) -> None:
        try:
            client.setblocking(False)
            await self._loop.connect_accepted_socket(self._make, client)
        except OSError as error:
            client.close()
            self._report(error)
