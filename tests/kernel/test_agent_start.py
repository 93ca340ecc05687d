"""Peers files with which an agent starts or refuses to start, and the empty list."""

from __future__ import annotations

from pathlib import Path

import pytest

from monlat_ebpf.testbed.namespace import Namespace
from testkit.pair import Pair
from tests.kernel.agents import RunningAgent, entry


@pytest.mark.parametrize(
    ("lines", "more", "expected"),
    [
        ([entry("node2", "10.77.0.2"), entry("node3", "10.77.0.3")], ("--max-peers", "1"), ":2: this is peer 2"),
        (["- {name: node2, addresses: [node2.example]}\n"], (), ":1: addresses: 'node2.example' is a host name"),
        (["nodes:\n", "- node2\n"], (), ":1: "),
    ],
    ids=["too many", "host name", "no list"],
)
def test_bad_list_at_start_is_status_2(tmp_path: Path, lines: list[str], more: tuple[str, ...], expected: str) -> None:
    """The agent does not start: one line names file and line, status 2."""
    with Namespace("agent") as namespace, RunningAgent(namespace, tmp_path, lines, more=more, wait=False) as agent:
        assert agent.process.wait(timeout=60) == 2
        (said,) = agent.log().splitlines()
        assert said.startswith(f"monlat: {agent.peers_file}{expected}")


def test_agent_runs_with_an_empty_list(tmp_path: Path) -> None:
    """With an empty list the agent is ready and healthy, and shows no series; peers that are added are measured."""
    with Pair() as pair, RunningAgent(pair["node1"].namespace, tmp_path) as agent:
        assert "nothing is probed" in agent.log()
        assert agent.scrape().one("monlat_peers") == 0
        agent.write_peers([entry("node2", "10.77.0.2", "fd77::2")])
        agent.wait_for_peers("node2")
        assert set(agent.wait_for_replies(7).results()) == {"reply"}
        agent.write_peers([])
        empty = agent.wait_for_scrape(lambda scrape: scrape.one("monlat_peers") == 0)
        assert not [name for name, labels in empty.series if dict(labels).get("to")]
        assert empty.one("monlat_in_flight_probes") == 0
        assert agent.get("/readyz")[0] == 200
        assert agent.get("/healthz")[0] == 200
