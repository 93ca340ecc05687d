"""Reads stamps and messages into the table: in a thread of its own, and whenever a reader of the table needs it now."""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol, TypeVar

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.sources.socket.endpoint import Received, Transmitted
from monlat_ebpf.sources.socket.recorder import Recorder
from monlat_ebpf.sources.socket.table import SocketTable

_LOG = logging.getLogger(__name__)
_Read = TypeVar("_Read")

MOST_MESSAGES: Final = 64
"""Per family and pass: half a millisecond of work, so that no reader waits long for the table during a flood."""

MOST_STAMPS: Final = 512
"""Per family and pass: more than an error queue holds."""

_WAITING_SECONDS: Final = 0.01
"""Between passes while a reply waits for the stamp of its request: a stamp does not wake the thread."""

_ERROR_PAUSE_SECONDS: Final = 0.1
_STOP_SECONDS: Final = 0.4
_MISSING_STAMP: Final = "missing_stamp"
_REJECTED_STAMP: Final = "rejected_stamp"
_OVERFLOW: Final = "receive_buffer_overflow"
_FAILURE: Final = "receiver_error"

_WARNINGS: Final = {
    _MISSING_STAMP: "a reply has no stamp of the kernel; it is not used",
    _REJECTED_STAMP: "a stamp does not lie between the sending of its probe and now; it is not used",
    _OVERFLOW: "packets were dropped because the receiving socket's buffer was full; raise net.core.rmem_max",
}


class StampedSockets(Protocol):
    """The sockets to read from: `endpoint.Endpoint`."""

    receiving: socket.socket
    overflow: int

    def read_received(self, most: int) -> Iterable[Received]:
        """Return the messages that are there, at most `most`; do not wait."""

    def read_transmitted(self, most: int) -> Iterable[Transmitted]:
        """Return the stamps that are there, at most `most`; do not wait."""

    def close(self) -> None:
        """Close `receiving`."""


class Receiver:
    """Fills `table` from the sockets that are added to it. Tests that step the clock give their own `clock`."""

    def __init__(self, size: TableSize, clock: WallClock | None = None) -> None:
        self.table = SocketTable(size, self.catch_up)
        self._clock = clock or WallClock()
        self._recorder = Recorder(self.table, self._clock)
        self._endpoints: list[StampedSockets] = []
        self._errors: Counter[str] = Counter()
        self._logged: set[str] = set()
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake, select.EPOLLIN)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monlat-stamps", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, endpoint: StampedSockets) -> None:
        """Read from `endpoint` too, and close it with the receiver."""
        with self.table.lock:
            self._endpoints.append(endpoint)
            self._poll.register(endpoint.receiving, select.EPOLLIN)

    def errors(self) -> Mapping[str, int]:
        """Return how often reading failed, by kind."""
        with self.table.lock:
            return dict(self._errors)

    def catch_up(self) -> bool:
        """Read what waits in the sockets into the table, up to a bound. Return False if some of it failed."""
        with self.table.lock:
            before = self._errors[_FAILURE]
            try:
                self._pass()
            except Exception as error:  # noqa: BLE001 -- neither the thread nor a reader of the table may end by it
                self._failed(error)
            return self._errors[_FAILURE] == before

    def _pass(self) -> None:
        """Read all sockets once. Messages come first, so that the older stamps of their requests are there by then."""
        recorder, endpoints = self._recorder, self._endpoints
        received = [each for endpoint in endpoints for each in self._all(endpoint.read_received(MOST_MESSAGES))]
        transmitted = [each for endpoint in endpoints for each in self._all(endpoint.read_transmitted(MOST_STAMPS))]
        now = self._clock.poll()
        for slot, nonce, stamp_ns, interface in transmitted:
            recorder.transmitted(slot, nonce, stamp_ns, interface, now)
        for message, stamp_ns in received:
            if stamp_ns:
                recorder.received(message, stamp_ns, now)
            else:
                self._count(_MISSING_STAMP, 1)
        recorder.record_waiting(now)
        self._raise_to(_REJECTED_STAMP, recorder.rejected_stamps)
        self._raise_to(_OVERFLOW, sum(endpoint.overflow for endpoint in endpoints))

    def _all(self, reading: Iterable[_Read]) -> Iterator[_Read]:
        """Yield what can be read; the failure of one socket does not stop the others."""
        try:
            yield from reading
        except OSError as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if _FAILURE not in self._logged:
            self._logged.add(_FAILURE)
            _LOG.error(
                "reading stamps failed; reading goes on, further failures are counted and not logged", exc_info=error
            )
        self._count(_FAILURE, 1)

    def _raise_to(self, kind: str, total: int) -> None:
        if total > self._errors[kind]:
            self._count(kind, total - self._errors[kind])

    def _count(self, kind: str, times: int) -> None:
        if kind in _WARNINGS and kind not in self._logged:
            self._logged.add(kind)
            _LOG.warning("%s; further cases are counted and not logged", _WARNINGS[kind])
        self._errors[kind] += times

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._poll.poll(_WAITING_SECONDS if self._recorder.is_waiting else None)
            if not self._stopping.is_set() and not self.catch_up():
                self._stopping.wait(_ERROR_PAUSE_SECONDS)

    def close(self) -> None:
        """End the thread and close the endpoints; do nothing if that was done before."""
        if self._poll.closed:
            return
        self._stopping.set()
        os.eventfd_write(self._wake, 1)
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        with self.table.lock:
            for endpoint in self._endpoints:
                endpoint.close()
            self._endpoints.clear()
        if not self._thread.is_alive():
            self._poll.close()
            os.close(self._wake)
