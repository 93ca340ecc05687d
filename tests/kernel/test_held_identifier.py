"""Other users of a node cannot read the replies to its probes through ping sockets."""

from __future__ import annotations

import errno
import socket

import pytest

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.sources.held_identifier import HeldIdentifier
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace

ANY = {socket.AF_INET: ("0.0.0.0", socket.IPPROTO_ICMP), socket.AF_INET6: ("::", socket.IPPROTO_ICMPV6)}


@pytest.fixture
def open_to_all() -> Namespace:
    namespace = Namespace("node")
    namespace.sysctl("net.ipv4.ping_group_range", "0 2147483647")
    return namespace


def bind_ping_socket(family: socket.AddressFamily, identifier: int) -> None:
    """Do as a program that wants the replies with this identifier."""
    address, protocol = ANY[family]
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as ping:
        ping.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ping.bind((address, identifier))


def test_identifier_of_an_agent_is_in_use(open_to_all: Namespace) -> None:
    """No ping socket of either family binds it while the source is open; afterwards one of each does."""
    with open_to_all as namespace, namespace.entered():
        source = TracepointSource(TableSize(1))
        try:
            for family in ANY:
                with pytest.raises(OSError, match="in use") as failed:
                    bind_ping_socket(family, source.identifier)
                assert failed.value.errno == errno.EADDRINUSE
        finally:
            source.close()
        for family in ANY:
            bind_ping_socket(family, source.identifier)


def test_two_processes_hold_different_identifiers(open_to_all: Namespace) -> None:
    """97 of them, none zero: the kernel would choose another number for it."""
    with open_to_all as namespace, namespace.entered():
        held = [HeldIdentifier() for _ in range(97)]
        assert len({each.number for each in held} - {0}) == 97
        for each in held:
            each.close()


def test_identifier_is_chosen_where_nobody_may_open_a_ping_socket() -> None:
    """The kernel's default: there is nobody to keep from it."""
    with Namespace("node") as namespace, namespace.entered():
        assert HeldIdentifier().number


@pytest.mark.parametrize(("groups", "warnings"), [("1 0", 0), ("5 7", 1)])
def test_identifier_that_cannot_be_held_is_a_warning(
    groups: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Group 0 may open no ping socket: a warning if other groups may, none if nobody may."""
    with Namespace("node") as namespace, namespace.entered():
        namespace.sysctl("net.ipv4.ping_group_range", groups)
        HeldIdentifier().close()
    assert caplog.text.count("ping_group_range allows them ping sockets") == warnings
