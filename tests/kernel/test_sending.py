"""A probe leaves as one packet, and nothing but a store lies between its t0 and the system call that sends it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import ip_address
from types import FrameType
from typing import Any

import pytest

from monlat_ebpf.abi import echo
from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.model import Address, Family, Peer
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.sources import Destination
from monlat_ebpf.sources.raw_sockets import RawSockets, receive_nothing
from monlat_ebpf.sources.socket.source import SocketSource
from monlat_ebpf.testbed.namespace import Namespace
from testkit.device import RawDevice
from testkit.reflector import ADDRESSES
from tests.kernel.answered import arrived

PEERS: dict[Family, Address] = {Family.IPV4: ip_address("10.99.7.7"), Family.IPV6: ip_address("fd99::7:7")}


@pytest.fixture
def wire() -> Iterator[tuple[Namespace, RawDevice]]:
    with Namespace("agent") as namespace, RawDevice(namespace, ADDRESSES) as device:
        yield namespace, device


@pytest.mark.parametrize("family", list(Family))
def test_probe_is_one_packet_which_leaves_after_start(wire: tuple[Namespace, RawDevice], family: Family) -> None:
    """The rehearsal puts nothing on the wire: at each of two calls of `start` no packet has left, at the end one."""
    namespace, device = wire
    payload = echo.payload(0, 5, 11)
    left: list[int] = []

    def count() -> int:
        left.append(sum(packet.endswith(payload) for packet in arrived(device)))
        return 0

    with namespace.entered():
        sockets = RawSockets(receive_nothing)
        sockets.send(echo.echo_request(family, 7, 0, 5, 11), Destination(PEERS[family]), count)
    sockets.close()
    count()
    assert left == [0, 0, 1]


def test_only_a_store_lies_between_t0_and_the_system_call(wire: tuple[Namespace, RawDevice]) -> None:
    """13 probes of each family, and a rehearsal before each two: of the functions in C, the last three are these."""
    namespace, _ = wire
    called: list[str] = []

    def note(_frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            called.append(function.__name__)

    with namespace.entered():
        source = SocketSource(TableSize(2))
    try:
        prober = Prober(source, interval_seconds=0.001, timeout_seconds=0.01, max_peers=1, count=13)
        prober.set_peers([Peer("peer", tuple(PEERS.values()))])
        sys.setprofile(note)
        try:
            prober.run()
        finally:
            sys.setprofile(None)
    finally:
        source.close()
    sent = [at for at, name in enumerate(called) if name == "sendto"]
    assert len(sent) == (2 + 1) * 13
    assert {tuple(called[at - 2 : at]) for at in sent} == {("monotonic_ns", "pack_into")}
