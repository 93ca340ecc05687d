"""The thread that reads the sockets: it survives failures, logs each kind once, and ends at close."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address

import pytest

from monlat_ebpf.abi.probes import TableSize, mapped
from monlat_ebpf.host.wall_clock import read_clocks
from monlat_ebpf.sources.socket.endpoint import Received, Transmitted
from monlat_ebpf.sources.socket.messages import Reply
from monlat_ebpf.sources.socket.receiver import Receiver
from testkit.waiting import wait_until

ADDRESS = mapped(ip_address("10.1.0.2"))
SLOT, NONCE = 3, 99
SECOND = 1_000_000_000


class ScriptedSockets:
    """Imitates an endpoint: `wake` makes the receiver read `received`, or fail `failures` times."""

    def __init__(self) -> None:
        self._waker, self.receiving = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.overflow = 0
        self.failures = 0
        self.received: list[Received] = []
        self.transmitted: list[Transmitted] = []

    def wake(self) -> None:
        self._waker.send(b"x")

    def read_received(self, _most: int) -> Iterator[Received]:
        if self.failures:
            self.failures -= 1
            raise OSError(100, "Network is down")
        with suppress(BlockingIOError):
            self.receiving.recv(16)
        while self.received:
            yield self.received.pop()

    def read_transmitted(self, _most: int) -> Iterator[Transmitted]:
        while self.transmitted:
            yield self.transmitted.pop()

    def close(self) -> None:
        self._waker.close()
        self.receiving.close()


@pytest.fixture
def sockets() -> ScriptedSockets:
    return ScriptedSockets()


@pytest.fixture
def receiver(sockets: ScriptedSockets) -> Iterator[Receiver]:
    made = Receiver(TableSize(1))
    made.add(sockets)
    made.start()
    yield made
    made.close()


def arm(receiver: Receiver, timeout: int = SECOND) -> None:
    now = time.monotonic_ns()
    receiver.table.arm(SLOT, nonce=NONCE, sent_ns=now, deadline_ns=now + timeout, address=ADDRESS)


def wall() -> int:
    return read_clocks().wall


def answer() -> Received:
    return Received(Reply(ADDRESS, SLOT, NONCE, b"\xff\xff"), wall())


def test_probe_is_completed_by_the_thread(receiver: Receiver, sockets: ScriptedSockets) -> None:
    """A stamp and a reply are there: the thread wakes up and records both."""
    arm(receiver)
    sockets.transmitted.append(Transmitted(SLOT, NONCE, wall(), 5))
    sockets.received.append(answer())
    sockets.wake()
    wait_until(lambda: receiver.table.completion(SLOT).received_ns > 0)
    assert 0 < receiver.table.completion(SLOT).transmitted_ns <= receiver.table.completion(SLOT).received_ns


def test_stamp_without_wake_up_is_found_for_a_waiting_reply(receiver: Receiver, sockets: ScriptedSockets) -> None:
    """The reply is read first. The stamp of its request comes without a wake-up and is read before the deadline."""
    arm(receiver, timeout=30 * SECOND)
    stamp = wall()
    sockets.received.append(answer())
    sockets.wake()
    wait_until(lambda: not sockets.received)
    sockets.transmitted.append(Transmitted(SLOT, NONCE, stamp, 5))
    wait_until(lambda: receiver.table.completion(SLOT).received_ns > 0)


def test_reading_a_probe_after_its_deadline_reads_the_sockets_first(sockets: ScriptedSockets) -> None:
    """No thread runs: a stamp that waits in the socket still counts."""
    receiver = Receiver(TableSize(1))
    receiver.add(sockets)
    arm(receiver, timeout=1)
    sockets.transmitted.append(Transmitted(SLOT, NONCE, wall(), 5))
    assert receiver.table.completion(SLOT).transmitted_ns > 0
    receiver.close()


def test_failure_is_counted_logged_once_and_survived(
    receiver: Receiver, sockets: ScriptedSockets, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading fails three times: three failures are counted, one is logged, and the reply after them is read."""
    arm(receiver, timeout=30 * SECOND)
    with caplog.at_level(logging.WARNING):
        sockets.failures = 3
        sockets.transmitted.append(Transmitted(SLOT, NONCE, wall(), 5))
        sockets.received.append(answer())
        sockets.wake()
        wait_until(lambda: receiver.table.completion(SLOT).received_ns > 0)
    assert receiver.errors() == {"receiver_error": 3}
    assert len(caplog.records) == 1
    assert "Network is down" in caplog.text


def test_failure_of_one_socket_does_not_stop_the_others(receiver: Receiver, sockets: ScriptedSockets) -> None:
    """One socket fails: the reply in another one is recorded in the same pass."""
    broken = ScriptedSockets()
    broken.failures = 1
    with receiver.table.lock:  # the thread waits until everything is prepared
        receiver.add(broken)
        arm(receiver, timeout=30 * SECOND)
        sockets.transmitted.append(Transmitted(SLOT, NONCE, wall(), 5))
        sockets.received.append(answer())
        assert not receiver.catch_up()
        assert receiver.table.completion(SLOT).received_ns > 0
    assert receiver.errors() == {"receiver_error": 1}


def test_missing_stamps_and_overflow_are_counted(
    receiver: Receiver, sockets: ScriptedSockets, caplog: pytest.LogCaptureFixture
) -> None:
    """Two replies without a stamp and 17 packets dropped by the kernel: counted, logged once each, not used."""
    arm(receiver, timeout=30 * SECOND)
    with caplog.at_level(logging.WARNING):
        for sockets.overflow in (11, 17):
            sockets.received.append(answer()._replace(stamp_ns=0))
            sockets.wake()
            wait_until(lambda: receiver.errors().get("receive_buffer_overflow") == sockets.overflow)
    assert receiver.errors() == {"missing_stamp": 2, "receive_buffer_overflow": 17}
    assert len(caplog.records) == 2
    assert receiver.table.completion(SLOT).received_ns == 0


def test_close_ends_the_thread(sockets: ScriptedSockets) -> None:
    """Half a second after close at the latest, the thread has ended and the sockets are closed."""
    receiver = Receiver(TableSize(1))
    receiver.add(sockets)
    receiver.start()
    began = time.monotonic()
    receiver.close()
    assert time.monotonic() - began < 10
    assert all(thread.name != "monlat-stamps" for thread in threading.enumerate())
    assert sockets.receiving.fileno() == -1
