"""An agent without the capabilities that a kernel program needs says so, or falls back with a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.pair import Pair
from tests.kernel.agents import RunningAgent, entry
from tests.kernel.leftovers import objects_of_process

NODE2 = entry("node2", "10.77.0.2", "fd77::2")


def without(*capabilities: str) -> tuple[str, ...]:
    """A command that starts another one without these capabilities, and without SYS_ADMIN, which includes them."""
    return ("setpriv", "--bounding-set", ",".join(f"-{name}" for name in (*capabilities, "sys_admin")))


@pytest.mark.parametrize("missing", [["bpf"], ["perfmon"], ["bpf", "perfmon"]], ids=" and ".join)
def test_tracepoint_by_name_fails_with_one_sentence(tmp_path: Path, missing: list[str]) -> None:
    """Status 1, and one line that names exactly the missing capabilities."""
    with (
        Pair() as pair,
        RunningAgent(pair["node1"].namespace, tmp_path, [NODE2], before=without(*missing), wait=False) as agent,
    ):
        assert agent.process.wait(timeout=60) == 1
        (line,) = agent.log().splitlines()
        assert line.startswith("monlat: ")
        assert f"lacks {' and '.join(f'CAP_{name.upper()}' for name in missing)}, " in line


def test_auto_falls_back_to_the_socket_and_says_so(tmp_path: Path) -> None:
    """Every probe of both families is measured; log, /metrics and /api/v1/peers give the source and the reason."""
    with (
        Pair() as pair,
        RunningAgent(
            pair["node1"].namespace, tmp_path, [NODE2], source="auto", before=without("bpf", "perfmon")
        ) as agent,
    ):
        scrape = agent.wait_for_replies(23)
        assert set(scrape.results()) == {"reply"}
        ((info, value),) = scrape.matching("monlat_timestamp_source_info")
        assert (info["source"], value) == ("socket", 1)
        assert "CAP_BPF" in info["reason"]
        assert scrape.has("latency_between_nodes", to="node2")
        answer = agent.answer()
        assert (answer["source"], answer["source_reason"]) == ("socket", info["reason"])
        (warning,) = (line for line in agent.log().splitlines() if " WARNING " in line)
        assert "CAP_BPF" in warning
        assert "socket" in warning
        assert objects_of_process(agent.process.pid).alive() == []


def test_first_choice_has_no_reason(tmp_path: Path) -> None:
    """With all capabilities `auto` is `tracepoint`, with an empty reason and no warning."""
    with Pair() as pair, RunningAgent(pair["node1"].namespace, tmp_path, [NODE2], source="auto") as agent:
        ((info, _),) = agent.scrape().matching("monlat_timestamp_source_info")
        assert info == {"source": "tracepoint", "reason": ""}
        assert " WARNING " not in agent.log()
