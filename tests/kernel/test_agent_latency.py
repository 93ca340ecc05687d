"""`latency_between_nodes` of the shell prototype: the last RTT in milliseconds, while the peer answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monlat_ebpf.exposition.api import PairDocument
from monlat_ebpf.testbed.network import Cluster, Node
from testkit.links import Links
from tests.kernel.agents import RunningAgent, Scrape, entry

LATENCY = "latency_between_nodes"
ENDED = "monlat_probe_results_total"
TIMEOUT_MS = 300


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(3) as built:
        yield built


def entry_of(node: Node) -> str:
    return entry(node.name, node.ipv4)


def at_one_instant(agent: RunningAgent) -> tuple[list[PairDocument], Scrape]:
    """An answer of /api/v1/peers and a scrape between which no probe ended."""
    while True:
        before = agent.answer()["pairs"]
        scrape = agent.scrape()
        if all(scrape.total(ENDED, to=pair["to"]) == pair["replies"] + pair["lost"] for pair in before):
            return before, scrape


def test_latency_is_the_last_rtt(tmp_path: Path, cluster: Cluster) -> None:
    """At 11 moments, each after another reply, its value for both peers is what /api/v1/peers calls the last."""
    peers = [entry_of(cluster["node2"]), entry_of(cluster["node3"])]
    seen = set()
    with RunningAgent(
        cluster["node1"].namespace, tmp_path, peers, interval="200ms", timeout=f"{TIMEOUT_MS}ms"
    ) as agent:
        for _ in range(11):
            agent.wait_for_replies(1)
            pairs, scrape = at_one_instant(agent)
            assert [pair["to"] for pair in pairs] == ["node2", "node3"]
            for pair in pairs:
                last = pair["rtt_seconds"]["last"]
                assert last is not None
                assert 0 < last < TIMEOUT_MS / 1e3
                assert scrape.one(LATENCY, to=pair["to"], **{"from": "node1"}) == pytest.approx(last * 1e3, abs=1e-6)
                seen.add(last)
            assert len(scrape.matching(LATENCY)) == 2
    assert len(seen) > 2


def ignore_echoes(cluster: Cluster, silent: bool) -> None:
    cluster["node2"].namespace.sysctl("net.ipv4.icmp_echo_ignore_all", int(silent))


def pull_the_plug(cluster: Cluster, silent: bool) -> None:
    with Links(cluster.switch) as links:
        links.set_up("port2", not silent)


@pytest.mark.parametrize("silence", [ignore_echoes, pull_the_plug])
def test_latency_goes_when_the_peer_is_silent_and_comes_back(
    tmp_path: Path, cluster: Cluster, silence: Callable[[Cluster, bool], None]
) -> None:
    """The first scrape that counts a loss has no such series for the peer; the next reply brings it back."""
    peers = [entry_of(cluster["node2"]), entry_of(cluster["node3"])]
    with RunningAgent(cluster["node1"].namespace, tmp_path, peers, interval="50ms", timeout=f"{TIMEOUT_MS}ms") as agent:
        assert agent.wait_for_replies(3).has(LATENCY, to="node2")
        silence(cluster, True)
        # No more replies come, so the first scrape that counts a loss was made after the last reply.
        gone = agent.wait_for_scrape(lambda scrape: set(scrape.results(to="node2")) != {"reply"})
        assert not gone.has(LATENCY, to="node2")
        assert gone.has(LATENCY, to="node3")
        assert agent.pair("node2")["rtt_seconds"]["last"] is None
        assert agent.pair("node2")["rtt_seconds"]["max"] is not None
        replies = gone.results(to="node2")["reply"]
        silence(cluster, False)
        back = agent.wait_for_scrape(lambda scrape: scrape.results(to="node2")["reply"] > replies)
        assert back.has(LATENCY, to="node2")
        assert set(back.results(to="node3")) == {"reply"}
