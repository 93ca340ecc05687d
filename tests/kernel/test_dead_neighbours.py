"""Peers for whose address nobody answers ARP or NDP: how their probes end, and that nobody else notices."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import groupby
from pathlib import Path
from subprocess import DEVNULL
from typing import Final

import pytest

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.host.next_hops import NextHops, NextHopState
from monlat_ebpf.model import Address, Family, Peer, Result
from monlat_ebpf.probing.ledger import Outcome
from monlat_ebpf.sources import Source
from monlat_ebpf.sources.socket.source import SocketSource
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace
from monlat_ebpf.testbed.network import DEVICE
from testkit.links import Links
from testkit.pair import Pair
from testkit.waiting import wait_until
from tests.kernel.measuring import Measurement
from tests.kernel.two_agents import FOR_EVER

IPV4, IPV6 = IPv4Address("10.66.0.0"), IPv6Address("fd66::")
NEAR, FIRST_LIVE, FIRST_DEAD = 1, 0x100, 0x1000
LIVE = 5
DEAD = 101
NO_LINK_ADDRESS = (Result.UNREACHABLE, "no_neighbour")
WAITING_PROBES: Final = 7  # fewer than a target's slots, so that each error finds its probe
HOST_UNREACHABLE: Final = (b"\x03\x01", b"\x01\x03")  # type and code, behind an IPv4 header and at the start


def addresses(first: int, count: int) -> list[Address]:
    """Return `count` addresses of each family."""
    return [base + first + number for number in range(count) for base in (IPV4, IPV6)]


@contextmanager
def wire(local: Sequence[Address], mtu: int = 1500) -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces on one link, 10.66.0.0/16 and fd66::/64; the far one has the addresses `local`."""
    with Namespace("near") as near, Namespace("far") as far, Links(near) as here, Links(far) as there:
        here.add_veth(DEVICE, far, DEVICE, mtu)
        for links, own in ((here, addresses(NEAR, 1)), (there, local)):
            for address in own:
                links.add_address(DEVICE, f"{address}/{16 if address.version == 4 else 64}")
            links.set_up(DEVICE)
        for links, own in ((here, addresses(NEAR, 1)), (there, local)):
            links.wait_until_usable(DEVICE, [str(address) for address in own])
        yield near, far


def peers(of: Sequence[Address]) -> list[Peer]:
    return [Peer(str(address), (address,)) for address in of]


def endings(outcomes: dict[tuple[Address, int], Outcome], of: Sequence[Address]) -> Counter[tuple[Result, str]]:
    chosen = set(of)
    return Counter((each.result, each.error) for (address, _), each in outcomes.items() if address in chosen)


def history(outcomes: dict[tuple[Address, int], Outcome], address: Address) -> list[tuple[Result, str]]:
    """Return how the probes to `address` ended, in the order of sending."""
    ended = sorted((sequence, outcome) for (each, sequence), outcome in outcomes.items() if each == address)
    return [(outcome.result, outcome.error) for _, outcome in ended]


@pytest.mark.parametrize("buffer_bytes", [4 << 20, 1])
def test_dead_peers_change_nothing_for_live_ones(buffer_bytes: int) -> None:
    """202 addresses that nobody has, 10 that answer: 23 probes to each within 3 s, all of them of one ending.

    So it is, too, with the smallest buffer for the packets that wait: it takes five of them.
    """
    live, dead = addresses(FIRST_LIVE, LIVE), addresses(FIRST_DEAD, DEAD)
    with wire(live) as (near, _):
        everyone = peers([*live, *dead])
        measurement = Measurement(near, everyone, probes=23, interval_seconds=0.13, timeout_seconds=0.9)
        assert isinstance(measurement.source, TracepointSource)
        for family in Family:
            silent = measurement.source._sockets.get(family, answering=False)
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        with measurement:
            outcomes = measurement.wait()
    assert {each: history(outcomes, each) for each in live} == dict.fromkeys(live, [(Result.REPLY, "")] * 23)
    assert endings(outcomes, dead) == {NO_LINK_ADDRESS: 23 * len(dead)}
    assert measurement.prober.errors()["no_neighbour"] >= 23 * len(dead)


def give_up_soon(namespace: Namespace) -> None:
    """Let the kernel give up a silent neighbour within 3 to 5 s, in the same steps as the 10 to 53 s by default.

    Of an address that it does not know yet it asks for 1.5 s, not 3 s.
    """
    for version in ("ipv4", "ipv6"):
        prefix = f"net.{version}.neigh.{DEVICE}"
        namespace.sysctl(f"{prefix}.base_reachable_time_ms", 1000)  # reachable: half to one and a half of it
        namespace.sysctl(f"{prefix}.delay_first_probe_time", 1)
        namespace.sysctl(f"{prefix}.retrans_time_ms", 500)  # it asks three times


def test_peers_that_die_together_take_nobody_with_them() -> None:
    """202 of 212 peers lose their addresses at once: lost in the network at first, later without a link address.

    The other ten lose nothing, in the whole time until the last of the dead has got there.
    """
    live, mortal = addresses(FIRST_LIVE, LIVE), addresses(FIRST_DEAD, DEAD)
    with wire([*live, *mortal]) as (near, far):
        give_up_soon(near)
        everyone = peers([*live, *mortal])
        with Measurement(near, everyone, probes=43, interval_seconds=0.17, timeout_seconds=0.5) as measurement:
            wait_until(lambda: len(measurement.outcomes) > 7 * len(everyone))
            with Links(far) as links:
                for address in mortal:
                    links.delete_address(DEVICE, f"{address}/{16 if address.version == 4 else 64}")
            outcomes = measurement.wait()
    assert endings(outcomes, live) == {(Result.REPLY, ""): 43 * len(live)}
    assert set(endings(outcomes, mortal)) == {(Result.REPLY, ""), (Result.LOST_NETWORK, ""), NO_LINK_ADDRESS}
    for address in mortal:
        phases = [ending for ending, _ in groupby(history(outcomes, address))]
        assert phases == [(Result.REPLY, ""), (Result.LOST_NETWORK, ""), NO_LINK_ADDRESS]


def test_pulled_cable_is_never_a_loss_of_this_host() -> None:
    """The far end gets nothing more, then all again: replies, losses in the network, no link address, replies.

    The link of this end stays up, as at a switch.
    """
    cut = f"table netdev cut {{ chain c {{ type filter hook ingress device {DEVICE} priority 0; drop; }}; }}"
    with Pair() as pair:
        [peer] = [Peer("node2", (ip_address(pair["node2"].ipv4), ip_address(pair["node2"].ipv6)))]

        def is_answered() -> bool:
            """Return whether the last eleven probes of both families were answered."""
            last = [history(measurement.outcomes, address)[-11:] for address in peer.addresses]
            return all(ended == [(Result.REPLY, "")] * 11 for ended in last)

        def run(node: str, *command: str) -> None:
            done = pair[node].namespace.run(command)
            assert done.returncode == 0, done.stderr

        with Measurement(
            pair["node1"].namespace, [peer], probes=FOR_EVER, interval_seconds=0.05, timeout_seconds=0.2
        ) as measurement:
            wait_until(is_answered)
            run("node2", "nft", cut)
            run("node1", "ip", "neigh", "flush", "dev", DEVICE)
            wait_until(lambda: measurement.prober.errors().get("no_neighbour", 0) > 2 * 23)
            run("node2", "nft", "delete table netdev cut")
            wait_until(is_answered)
    for address in peer.addresses:
        ended = set(history(measurement.outcomes, address))
        assert {(Result.REPLY, ""), NO_LINK_ADDRESS} <= ended
        assert ended <= {(Result.REPLY, ""), (Result.LOST_NETWORK, ""), NO_LINK_ADDRESS}


def test_probe_with_a_long_time_out_ends_by_the_kernels_own_error() -> None:
    """After 1.5 s the kernel drops the packet and sends an ICMP error to itself; the time-out is 2 s."""
    dead = addresses(FIRST_DEAD, 1)
    with wire([]) as (near, _):
        give_up_soon(near)
        with Measurement(near, peers(dead), interval_seconds=20, timeout_seconds=2) as measurement:
            outcomes = measurement.wait()
    assert endings(outcomes, dead) == {NO_LINK_ADDRESS: 2}


def test_drop_behind_the_next_hop_stays_a_loss_of_this_host() -> None:
    """The next hop has its link address, and the queue of the device drops the requests before its driver.

    The kernel tells a raw IPv6 socket of the drop with ENOBUFS, which is then no reason to send again.
    """
    live = addresses(FIRST_LIVE, 1)
    with wire(live) as (near, _):
        for command in (
            ["ping", "-n", "-c", "1", str(live[0])],
            ["ping", "-n", "-c", "1", str(live[1])],
            ["tc", "qdisc", "add", "dev", DEVICE, "root", "pfifo", "limit", "0"],
        ):
            ran = near.run(command)
            assert ran.returncode == 0, ran.stderr
        with Measurement(near, peers(live), probes=3, interval_seconds=0.3, timeout_seconds=0.2) as measurement:
            outcomes = measurement.wait()
    assert endings(outcomes, live) == {(Result.LOST_HOST, ""): 3, (Result.SEND_ERROR, "ENOBUFS"): 3}


def test_states_of_next_hops_are_those_that_ip_shows() -> None:
    """Of an address that answers, one that nobody has, one behind a gateway, a local one, and one without a route."""
    (live,), (dead,) = addresses(FIRST_LIVE, 1)[:1], addresses(FIRST_DEAD, 1)[:1]
    routed, unroutable = ip_address("10.88.0.1"), ip_address("192.0.2.1")
    with wire([live]) as (near, _), Links(near) as links:
        links.add_route("10.88.0.0/24", gateway=str(live))
        with near.entered():
            hops = NextHops()
        try:
            before = [hops.state(address) for address in (live, dead, routed, unroutable)]
            for address in (routed, dead):
                near.popen(["ping", "-n", "-c", "1", "-W", "1", str(address)], stdout=DEVNULL).wait()
            after = [hops.state(address) for address in (live, dead, routed, unroutable, IPV4 + NEAR)]
            shown = {each["dst"]: each["state"][0] for each in json.loads(near.run(["ip", "-json", "neigh"]).stdout)}
            interface, hop = hops.next_hop(routed) or (0, b"")
            tables = hops.tables()
        finally:
            hops.close()
        assert interface == links.index(DEVICE)
    absent, unknown = NextHopState.ABSENT, NextHopState.UNKNOWN
    assert before == [absent, absent, absent, unknown]
    assert after == [NextHopState.USABLE, NextHopState.UNRESOLVED, NextHopState.USABLE, unknown, absent]
    assert shown[str(live)] in {"REACHABLE", "DELAY", "STALE"}
    assert shown[str(dead)] in {"INCOMPLETE", "FAILED"}
    assert hop == live.packed
    limits = {family: Path(f"/proc/sys/net/{family}/neigh/default/gc_thresh3").read_text() for family in tables}
    assert {family: str(table.largest) for family, table in tables.items()} == {
        family: limit.strip() for family, limit in limits.items()
    }
    assert all(0 < table.entries <= table.largest for table in tables.values())
    assert hops.state(live) is unknown


class Errors:
    """Counts the errors "host unreachable" that the stack delivers in a namespace, as any raw socket sees them."""

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
            near,
            peers(dead),
            probes=WAITING_PROBES,
            interval_seconds=0.05,
            timeout_seconds=0.2,
            open_source=open_source,
        )
        with measurement:
            outcomes = measurement.wait()
            wait_until(lambda: errors.count() >= 2 * WAITING_PROBES)
            wait_until(lambda: measurement.unmatched().get("stale_error", 0) >= errors.count())
            assert measurement.unmatched() == {"stale_error": errors.count()}
            assert errors.count() <= sum(pair.sent for pair in measurement.pairs())
    assert endings(outcomes, dead) == {NO_LINK_ADDRESS: 2 * WAITING_PROBES}
