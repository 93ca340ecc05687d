"""A real agent with thousands of peers: all are addresses of one other namespace, whose kernel answers the echoes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from monlat_ebpf.errors import AgentUnreachable
from monlat_ebpf.exposition import client
from monlat_ebpf.testbed.network import Node
from testkit.links import Links
from testkit.pair import Pair
from testkit.waiting import wait_until

PORT = 10045
_NETWORK = "10.64.0.0/14"
_FIRST_PEER = IPv4Address("10.64.0.1")


@contextmanager
def agent_with_peers(peers: int) -> Iterator[int]:
    """Run an agent that probes `peers` peers once a second. Yield its process id, in its namespace, when all answer."""
    with Pair() as (here, there), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        _give_addresses(here, there)
        file.writelines(f"- {{name: peer{n}, addresses: [{_FIRST_PEER + n}]}}\n" for n in range(peers))
        file.flush()
        with _agent(here, file.name, peers) as process, here.namespace.entered():
            # One peer a question: an answer about all of them would already change the memory.
            for peer in ("peer0", f"peer{peers - 1}"):
                wait_until(lambda: _has_answered(peer), f"no reply of {peer}")  # noqa: B023  # called at once
            yield process


def _has_answered(peer: str) -> bool:
    try:
        pairs = client.ask(f"http://127.0.0.1:{PORT}", query=f"?peer={peer}")["pairs"]
    except AgentUnreachable:
        return False
    return any(pair["replies"] for pair in pairs)


def _give_addresses(here: Node, there: Node) -> None:
    """Make every address of the peers' network one of `there`."""
    added = there.namespace.run(["ip", "route", "add", "local", _NETWORK, "dev", "lo"])
    if added.returncode:
        sys.exit(f"no addresses for the peers: {added.stderr.strip()}")
    with Links(here.namespace) as links:
        links.add_route(_NETWORK, gateway=there.ipv4)


@contextmanager
def _agent(node: Node, peers_file: str, peers: int) -> Iterator[int]:
    command = [sys.executable, "-m", "monlat_ebpf", "agent", "--node-name", "bench", "--peers", peers_file]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MONLAT_")}
    process = node.namespace.popen(
        [*command, "--max-peers", str(peers), "--probe-neighbours", "all", "--log-level", "warning"],
        env=environment,
        cwd=Path(__file__).resolve().parent.parent,
    )
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def resident(process: int, field: str = "VmRSS") -> float:
    """Return a field of the process's memory in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def forget_peak(process: int) -> None:
    """Let VmHWM start again from VmRSS (proc(5))."""
    Path(f"/proc/{process}/clear_refs").write_text("5")
