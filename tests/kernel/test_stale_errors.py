"""ICMP errors that come after their probes have ended: each is counted once, as a raw socket beside the agent sees."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import pytest

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.sources import Source
from monlat_ebpf.sources.socket.source import SocketSource
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace
from testkit.waiting import wait_until
from tests.kernel.measuring import Measurement
from tests.kernel.test_dead_neighbours import (
    FIRST_DEAD,
    NO_LINK_ADDRESS,
    addresses,
    endings,
    give_up_soon,
    peers,
    wire,
)

PROBES: Final = 7  # fewer than a target's slots, so that each error finds its probe
HOST_UNREACHABLE: Final = (b"\x03\x01", b"\x01\x03")  # type and code, behind an IPv4 header and at the start


class Errors:
    """Counts the errors "host unreachable" that the stack delivers in a namespace."""

    def __init__(self, sockets: tuple[socket.socket, socket.socket]) -> None:
        self._sockets = sockets
        self._count = 0

    def count(self) -> int:
        """Return how many have come."""
        for raw, header, wanted in zip(self._sockets, (20, 0), HOST_UNREACHABLE, strict=True):
            with suppress(BlockingIOError):
                while packet := raw.recv(2048):
                    self._count += packet[header : header + 2] == wanted
        return self._count


@contextmanager
def errors_in(namespace: Namespace) -> Iterator[Errors]:
    with ExitStack() as stack, namespace.entered():
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        ipv4 = stack.enter_context(socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP))
        ipv6 = stack.enter_context(socket.socket(socket.AF_INET6, kind, socket.IPPROTO_ICMPV6))
        yield Errors((ipv4, ipv6))


@pytest.mark.parametrize("open_source", [TracepointSource, SocketSource])
def test_error_for_a_probe_that_waited_is_counted_once(open_source: Callable[[TableSize], Source]) -> None:
    """7 probes of each family wait for an address that nobody has, and end after 0.2 s as unreachable.

    After 1.5 s the kernel gives up and sends an error for each packet: as many stale errors, and no other count.
    """
    dead = addresses(FIRST_DEAD, 1)
    with wire([]) as (near, _), errors_in(near) as errors:
        give_up_soon(near)
        measurement = Measurement(
            near, peers(dead), probes=PROBES, interval_seconds=0.05, timeout_seconds=0.2, open_source=open_source
        )
        with measurement:
            outcomes = measurement.wait()
            wait_until(lambda: errors.count() >= 2 * PROBES)
            wait_until(lambda: measurement.unmatched().get("stale_error", 0) >= errors.count())
            assert measurement.unmatched() == {"stale_error": errors.count()}
            assert errors.count() <= sum(pair.sent for pair in measurement.pairs())
    assert endings(outcomes, dead) == {NO_LINK_ADDRESS: 2 * PROBES}
