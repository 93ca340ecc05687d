"""Which capabilities an agent needs to start, what it says without them, and that it holds none afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from monlat_ebpf.testbed.network import DEVICE
from testkit.links import Links
from testkit.pair import Pair
from tests.kernel.agents import RunningAgent, entry
from tests.kernel.leftovers import objects_of_process

NODE2 = entry("node2", "10.77.0.2", "fd77::2")


MANY = 71
"""More targets than the agent maps memory for at its start."""


def held_by(process_id: int) -> dict[str, set[int]]:
    """Each set of capabilities, as a mask, that some thread of the process has (proc(5))."""
    held: dict[str, set[int]] = {name: set() for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    for status in Path(f"/proc/{process_id}/task").glob("*/status"):
        fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
        for name, masks in held.items():
            masks.add(int(fields[name], 16))
    return held


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


@pytest.mark.parametrize("source", ["tracepoint", "socket"])
def test_no_thread_of_a_running_agent_holds_a_capability(source: str, tmp_path: Path) -> None:
    """Not even when its peers become many and of the other family, and its own address another one."""
    listed = ["10.77.0.31", "fd77::31"]
    with Pair() as pair, Links(pair["node1"].namespace) as links:
        for network, gateway in (("10.64.0.0/24", pair["node2"].ipv4), ("fd64::/64", pair["node2"].ipv6)):
            assert pair["node2"].namespace.run(["ip", "route", "add", "local", network, "dev", "lo"]).returncode == 0
            links.add_route(network, gateway=gateway)
        ipv4_alone = [entry("node2", pair["node2"].ipv4)]
        with RunningAgent(pair["node1"].namespace, tmp_path, ipv4_alone, source=source, interval="200ms") as agent:
            agent.wait_for_replies(3)
            for address in listed:
                links.add_address(DEVICE, f"{address}/{64 if ':' in address else 24}")
            links.wait_until_usable(DEVICE, listed)
            many = [entry(f"peer{n}", f"10.64.0.{n}", f"fd64::{n}") for n in range(1, MANY)]
            agent.write_peers([entry("node1", *listed), NODE2, *many])
            agent.wait_for_peers("node2", *(f"peer{n}" for n in range(1, MANY)))
            scrape = agent.wait_for_replies(5)
            assert len(scrape.matching("monlat_probes_sent_total")) == 2 * MANY
            assert held_by(agent.process.pid) == {name: {0} for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
            assert not scrape.has("monlat_held_capability")
            assert " WARNING " not in agent.log()
