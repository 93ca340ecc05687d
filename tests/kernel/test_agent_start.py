"""Lists of peers that an agent starts with, or does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kernel.agents import RunningAgent, entry

from monlat_ebpf.testbed.namespace import Namespace


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
    """The agent does not start with it: one line with file and line, status 2."""
    with Namespace("agent") as namespace, RunningAgent(namespace, tmp_path, lines, more=more, wait=False) as agent:
        assert agent.process.wait(timeout=60) == 2
        (said,) = agent.log().splitlines()
        assert said.startswith(f"monlat: {agent.peers_file}{expected}")


def test_start_without_peers(tmp_path: Path) -> None:
    """An empty list at start: ready, idle, and it says that nothing is probed."""
    with Namespace("agent") as namespace, RunningAgent(namespace, tmp_path) as agent:
        assert agent.scrape().one("monlat_peers") == 0
        assert "nothing is probed" in agent.log()
