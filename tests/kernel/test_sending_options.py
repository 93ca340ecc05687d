"""--dscp and --source-address: how probes leave, as a packet capture on the wire sees it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest

from monlat_ebpf.model import Address
from monlat_ebpf.testbed.network import DEVICE
from testkit.capture import Capture
from testkit.links import Links
from testkit.pair import Pair
from testkit.waiting import wait_until
from tests.kernel.agents import RunningAgent, entry

SOURCES = ("tracepoint", "socket")
SECOND = ("10.77.0.31", "fd77::31")
EXPEDITED = 46
PING = (sys.executable, "-m", "monlat_ebpf", "ping", "-c", "3", "-i", "0.05")

ICMP, ICMPV6 = 1, 58
REQUEST, REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}


class Echo(NamedTuple):
    """An echo request or reply on the wire: the field of DSCP and ECN (RFC 2474), and the sender."""

    version: int
    is_request: bool
    traffic_class: int
    sender: Address


def echoes(capture: Capture) -> list[Echo]:
    """Return the echoes among the packets, by the layouts of RFC 791 and RFC 8200."""
    found = []
    for packet in capture.packets():
        data, version = packet.data, packet.data[0] >> 4
        if version == 4:
            protocol, header, traffic_class, sender = data[9], (data[0] & 15) * 4, data[1], data[12:16]
        else:
            protocol, header, sender = data[6], 40, data[8:24]
            traffic_class = int.from_bytes(data[:2], "big") >> 4 & 0xFF
        if protocol == (ICMP if version == 4 else ICMPV6) and data[header] in (REQUEST[version], REPLY[version]):
            found.append(Echo(version, data[header] == REQUEST[version], traffic_class, ip_address(sender)))
    return found


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two nodes; the first one has second addresses, which no route prefers."""
    with Pair() as pair, Links(pair["node1"].namespace) as links:
        for address in SECOND:
            links.add_address(DEVICE, f"{address}/{64 if ':' in address else 24}")
        links.wait_until_usable(DEVICE, SECOND)
        yield pair


@pytest.mark.parametrize("source", SOURCES)
def test_agent_sends_with_class_and_address(pair: Pair, tmp_path: Path, source: str) -> None:
    """Every request of both families has DSCP 46 and the second address. So has every reply, from a Linux peer."""
    more = ["--dscp", str(EXPEDITED)]
    for address in SECOND:
        more += ["--source-address", address]
    node1, node2 = pair["node1"], pair["node2"]
    peers = [entry("node1", node1.ipv4, node1.ipv6), entry("node2", node2.ipv4, node2.ipv6)]
    with (
        Capture(node2.namespace, DEVICE) as capture,
        RunningAgent(node1.namespace, tmp_path, peers, source=source, more=more) as agent,
    ):
        scrape = agent.wait_for_replies(7)
        assert set(scrape.results()) == {"reply"}
        seen = echoes(capture)
        log = agent.log()
        assert "--source-address names another" in log  # the list has the first addresses
        for family in ("ipv4", "ipv6"):
            assert scrape.one("monlat_unlisted_source_probes_total", family=family) >= 7
    requests = [echo for echo in seen if echo.is_request]
    assert {(echo.version, echo.traffic_class, str(echo.sender)) for echo in requests} == {
        (4, EXPEDITED << 2, SECOND[0]),
        (6, EXPEDITED << 2, SECOND[1]),
    }
    assert {echo.traffic_class for echo in seen if not echo.is_request} == {EXPEDITED << 2}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_ping_sends_with_class_and_address(pair: Pair, source: str, family: str) -> None:
    """Three requests, all of them with DSCP 46 from the second address, and three replies."""
    node2 = pair["node2"]
    second = SECOND[family == "ipv6"]
    arguments = ["--source", source, "--dscp", str(EXPEDITED), "-I", second, getattr(node2, family)]
    with Capture(node2.namespace, DEVICE) as capture:
        done = pair["node1"].namespace.run([*PING, *arguments])
        assert done.returncode == 0, done.stdout + done.stderr
        seen = Counter(echo for echo in echoes(capture) if echo.is_request)
    version = 4 if family == "ipv4" else 6
    assert seen == {Echo(version, True, EXPEDITED << 2, ip_address(second)): 3}


def test_without_options_probes_leave_as_those_of_ping(pair: Pair) -> None:
    """Class 0, and the address that the route prefers."""
    with Capture(pair["node2"].namespace, DEVICE) as capture:
        done = pair["node1"].namespace.run([*PING, pair["node2"].ipv4])
        assert done.returncode == 0, done.stdout + done.stderr
        seen = {(echo.traffic_class, str(echo.sender)) for echo in echoes(capture) if echo.is_request}
    assert seen == {(0, pair["node1"].ipv4)}


@pytest.mark.parametrize("source", SOURCES)
def test_probes_never_leave_from_another_address(pair: Pair, tmp_path: Path, source: str) -> None:
    """The address goes while the agent runs: its probes are send errors. It comes back: they are answered again."""
    node1, node2 = pair["node1"], pair["node2"]
    peers = [entry("node2", node2.ipv4)]
    more = ("--source-address", SECOND[0])
    with RunningAgent(node1.namespace, tmp_path, peers, source=source, more=more) as agent:
        agent.wait_for_replies(3)
        with Links(node1.namespace) as links, Capture(node2.namespace, DEVICE) as capture:
            links.delete_address(DEVICE, f"{SECOND[0]}/24")
            errors = agent.scrape().results().get("send_error", 0)
            wait_until(lambda: agent.scrape().results().get("send_error", 0) >= errors + 7)
            links.add_address(DEVICE, f"{SECOND[0]}/24")
            agent.wait_for_replies(3)
            senders = {str(echo.sender) for echo in echoes(capture) if echo.is_request and echo.version == 4}
        assert senders <= {SECOND[0]}


def test_address_of_another_host_is_a_configuration_error(pair: Pair, tmp_path: Path) -> None:
    """The agent does not start: one line names the flag, its variable and what to give; status 2."""
    other = pair["node2"].ipv4
    peers = [entry("node2", other)]
    more = ("--source-address", other)
    with RunningAgent(pair["node1"].namespace, tmp_path, peers, more=more, wait=False) as agent:
        assert agent.process.wait(timeout=60) == 2
        assert agent.log() == (
            f"monlat: --source-address (MONLAT_SOURCE_ADDRESS): {other} is no address of this host, or not usable yet; "
            "give one that `ip address` shows here\n"
        )


def test_variable_has_one_address_of_each_family(pair: Pair, tmp_path: Path) -> None:
    """Separated by spaces, as in MONLAT_LISTEN."""
    node2 = pair["node2"]
    environment = {"MONLAT_SOURCE_ADDRESS": " ".join(SECOND), "MONLAT_DSCP": "8"}
    peers = [entry("node2", node2.ipv4, node2.ipv6)]
    with (
        Capture(node2.namespace, DEVICE) as capture,
        RunningAgent(pair["node1"].namespace, tmp_path, peers, environment=environment) as agent,
    ):
        agent.wait_for_replies(3)
        seen = {(str(echo.sender), echo.traffic_class) for echo in echoes(capture) if echo.is_request}
    assert seen == {(address, 8 << 2) for address in SECOND}
