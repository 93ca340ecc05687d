"""A real agent with thousands of peers: all are addresses of one other namespace, whose kernel answers the echoes."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from monlat_ebpf.errors import AgentUnreachable
from monlat_ebpf.exposition import client
from monlat_ebpf.testbed.network import Node
from testkit.links import Links
from testkit.pair import Pair
from testkit.waiting import wait_until

PORT = 10045
_NETWORKS = ("10.64.0.0/14", "fd64::/64")
_FIRST_IPV4, _FIRST_IPV6 = IPv4Address("10.64.0.1"), IPv6Address("fd64::1")
_ROOT = Path(__file__).resolve().parent.parent
_ECHOES_IPV4 = re.compile(r"^Icmp: (.+)\nIcmp: (.+)$", re.MULTILINE)
_ECHOES_IPV6 = re.compile(r"^Icmp6InEchos\s+(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Bed:
    """Two nodes on one wire: programs run `here`, and every peer's addresses are of the kernel `there`."""

    here: Node
    there: Node

    def echoes(self) -> int:
        """Return how many echo requests of both families have come to the peers."""
        with self.there.namespace.entered():
            net = Path("/proc/thread-self/net")
            return echo_requests((net / "snmp").read_text(), (net / "snmp6").read_text())


def echo_requests(snmp: str, snmp6: str) -> int:
    """Return the echo requests received, by the text of /proc/net/snmp and snmp6. Raises ValueError."""
    ipv4, ipv6 = _ECHOES_IPV4.search(snmp), _ECHOES_IPV6.search(snmp6)
    if ipv4 is None or ipv6 is None:
        raise ValueError("the kernel's counters have no line of ICMP")
    return int(dict(zip(ipv4[1].split(), ipv4[2].split(), strict=True))["InEchos"]) + int(ipv6[1])


@contextmanager
def bed_of_peers() -> Iterator[Bed]:
    """Make a bed for the block."""
    with Pair() as (here, there):
        _give_addresses(here, there)
        yield Bed(here, there)


def addresses_of(peer: int, is_dual: bool = False) -> tuple[str, ...]:
    """Return the addresses of a peer, counted from 0: one of IPv4, and with `is_dual` one of IPv6."""
    ipv4 = str(_FIRST_IPV4 + peer)
    return (ipv4, str(_FIRST_IPV6 + peer)) if is_dual else (ipv4,)


@contextmanager
def agent_with_peers(peers: int) -> Iterator[int]:
    """Run an agent that probes `peers` peers once a second. Yield its process id, in its namespace, when all answer."""
    with bed_of_peers() as bed, running_agent(bed.here, peers) as process, bed.here.namespace.entered():
        # One peer a question: an answer about all of them would already change the memory.
        for peer in ("peer0", f"peer{peers - 1}"):
            wait_until(lambda: has_answered(peer), f"no reply of {peer}")  # noqa: B023  # called at once
        yield process


def has_answered(peer: str) -> bool:
    """Whether the agent in the calling thread's namespace has an RTT of `peer`."""
    try:
        pairs = client.ask(f"http://127.0.0.1:{PORT}", query=f"?peer={peer}")["pairs"]
    except AgentUnreachable:
        return False
    return any(pair["replies"] for pair in pairs)


def _give_addresses(here: Node, there: Node) -> None:
    """Make every address of the peers' networks one of `there`."""
    for network in _NETWORKS:
        added = there.namespace.run(["ip", "route", "add", "local", network, "dev", "lo"])
        if added.returncode:
            sys.exit(f"no addresses for the peers: {added.stderr.strip()}")
    with Links(here.namespace) as links:
        for network, gateway in zip(_NETWORKS, (there.ipv4, there.ipv6), strict=True):
            links.add_route(network, gateway=gateway)


@contextmanager
def running_agent(node: Node, peers: int, is_dual: bool = False) -> Iterator[int]:
    """Run an agent in `node` for the block, with peer0, peer1 and so on. Yield its process id as soon as it starts.

    It probes all of them, whatever part of a large list is the default of its version.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MONLAT_")}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        for peer in range(peers):
            quoted = ", ".join(f'"{address}"' for address in addresses_of(peer, is_dual))
            file.write(f"- {{name: peer{peer}, addresses: [{quoted}]}}\n")
        file.flush()
        command = ["env", "MONLAT_PROBE_NEIGHBOURS=all", sys.executable, "-m", "monlat_ebpf", "agent"]
        command += ["--node-name", "bench", "--peers", file.name]
        process = node.namespace.popen(
            [*command, "--max-peers", str(peers), "--log-level", "warning"], env=environment, cwd=_ROOT
        )
        try:
            yield process.pid
        finally:
            process.kill()
            process.wait()


def resident(process: int, field: str = "VmRSS") -> float:
    """Return a field of the process's memory in MiB. Raises ProcessLookupError if it has ended."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {process} has ended")


def forget_peak(process: int) -> None:
    """Let VmHWM start again from VmRSS (proc(5))."""
    Path(f"/proc/{process}/clear_refs").write_text("5")
