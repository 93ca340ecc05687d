"""Agents for the tests of `monlat collect` as a process."""

from __future__ import annotations

from pathlib import Path

from testkit.fake_agents import Behaviour, FakeAgents, honest
from tests.unit.fake_agent import answer, pair, probe

NODES = ("node1", "node2", "node3", "node4")
FAST = ("--collect-interval", "1s", "--collect-timeout", "500ms")


def of_node(name: str) -> Behaviour:
    """An honest agent: node1 measures 43.1 us to everybody."""
    others = [other for other in NODES if other != name]
    return honest(answer(*(pair(to, **{"from": name, "probes": [probe(1)]}) for to in others), node=name))


def collecting(agents: FakeAgents, directory: Path, *arguments: str) -> tuple[str, ...]:
    peers = agents.write_peers(directory / "peers.yml", ["a", "a", "b", "b"])
    return ("--peers", str(peers), "--agent-port", str(agents.port), *FAST, *arguments)
