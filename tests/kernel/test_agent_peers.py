"""Peers join, leave, move or are written wrongly while the agent runs; the series of other peers do not change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monlat_ebpf.testbed.network import DEVICE
from testkit.links import Links
from testkit.pair import Pair
from tests.kernel.agents import RunningAgent, Scrape, entry

STEADY = entry("steady", "10.77.0.2", "fd77::2", zone="a")
OTHER_ADDRESSES = ("10.77.0.3", "10.77.0.4", "fd77::3", "fd77::4")
SENT = "monlat_probes_sent_total"
COUNTERS = (SENT, "monlat_probe_results_total", "monlat_rtt_seconds_bucket", "monlat_rtt_seconds_count")


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """An agent on node1 that probes `steady`. Tests may list other peers, all on node2."""
    with Pair() as pair:
        node2 = pair["node2"].namespace
        with Links(node2) as links:
            for address in OTHER_ADDRESSES:
                links.add_address(DEVICE, f"{address}/{64 if ':' in address else 24}")
        directory = tmp_path_factory.mktemp("agent")
        with RunningAgent(pair["node1"].namespace, directory, [STEADY], more=("--max-peers", "5")) as running:
            running.wait_for_replies(3, to="steady")
            yield running


@pytest.fixture(autouse=True)
def steady(agent: RunningAgent) -> Iterator[None]:
    """After each test the list is short again, `steady` has lost no probe, and none of its counters fell."""
    before = agent.scrape()
    yield
    agent.write_peers([STEADY])
    after = agent.wait_for_peers("steady")
    for (metric, labels), value in before.series.items():
        if metric in COUNTERS and ("to", "steady") in labels:
            assert after.series[metric, labels] >= value
    for family in ("ipv4", "ipv6"):
        assert after.total(SENT, family=family) > before.total(SENT, family=family, to="steady")
        assert set(after.results(to="steady", family=family)) == {"reply"}


def names_in(scrape: Scrape) -> set[str]:
    """Every peer that any series of the scrape names."""
    return {value for _, labels in scrape.series for name, value in labels if name == "to"}


def test_peer_that_joins_is_measured(agent: RunningAgent) -> None:
    """The peer gets its series without a restart, and every probe of both its addresses is answered."""
    agent.write_peers([STEADY, entry("guest", "10.77.0.3", "fd77::3")])
    agent.wait_for_peers("steady", "guest")
    scrape = agent.wait_for_replies(7, to="guest")
    assert scrape.one("monlat_peers") == 2
    for family in ("ipv4", "ipv6"):
        assert set(scrape.results(to="guest", family=family)) == {"reply"}
    assert scrape.has("latency_between_nodes", to="guest", **{"from": "node1"})


def test_series_of_a_peer_go_when_it_leaves(agent: RunningAgent) -> None:
    """No series names the peer after it left; when it returns its counters begin at zero."""
    agent.write_peers([STEADY, entry("guest", "10.77.0.3")])
    agent.wait_for_peers("steady", "guest")
    before = agent.wait_for_replies(23, to="guest")
    agent.write_peers([STEADY])
    scrape = agent.wait_for_scrape(lambda scrape: scrape.one("monlat_peers") == 1)
    assert names_in(scrape) == {"steady"}
    agent.write_peers([STEADY, entry("guest", "10.77.0.3")])
    back = agent.wait_for_peers("steady", "guest")
    assert back.one(SENT, to="guest") < before.one(SENT, to="guest")
    assert set(agent.wait_for_replies(3, to="guest").results(to="guest")) == {"reply"}


def test_peer_that_moves_keeps_its_series(agent: RunningAgent) -> None:
    """With another address the info shows only the new one, counters go on, and no probe is lost."""
    agent.write_peers([STEADY, entry("guest", "10.77.0.3", "fd77::3")])
    agent.wait_for_peers("steady", "guest")
    before = agent.wait_for_replies(7, to="guest")
    agent.write_peers([STEADY, entry("guest", "10.77.0.4", "fd77::4")])
    moved = agent.wait_for_scrape(lambda scrape: scrape.has("monlat_peer_info", to="guest", address="10.77.0.4"))
    addresses = {labels["address"] for labels, _ in moved.matching("monlat_peer_info", to="guest")}
    assert addresses == {"10.77.0.4", "fd77::4"}
    after = agent.wait_for_replies(7, to="guest")
    for family in ("ipv4", "ipv6"):
        assert set(after.results(to="guest", family=family)) == {"reply"}
        sent = before.one(SENT, to="guest", family=family)
        assert after.one(SENT, to="guest", family=family) >= sent + 7


def test_peer_that_changes_its_zone_keeps_its_counters(agent: RunningAgent) -> None:
    """Only the info's `to_zone` changes."""
    agent.write_peers([STEADY, entry("guest", "10.77.0.3", zone="a")])
    agent.wait_for_peers("steady", "guest")
    before = agent.wait_for_replies(7, to="guest")
    assert before.has("monlat_peer_info", to="guest", to_zone="a")
    agent.write_peers([STEADY, entry("guest", "10.77.0.3", zone="b")])
    after = agent.wait_for_scrape(lambda scrape: scrape.has("monlat_peer_info", to="guest", to_zone="b"))
    assert len(after.matching("monlat_peer_info", to="guest")) == 1
    assert after.one(SENT, to="guest") >= before.one(SENT, to="guest")


@pytest.mark.parametrize(
    ("lines", "line", "field"),
    [
        ([STEADY, entry("guest", "guest.example")], 2, "addresses"),
        ([STEADY, "- {name: guest, adresses: [10.77.0.3]}\n"], 2, "adresses"),
        ([STEADY, entry("steady", "10.77.0.3")], 2, "name"),
        ([STEADY, "- {name: guest\n", "  zone: b\n"], 3, ""),
    ],
    ids=["host name", "unknown field", "name twice", "syntax"],
)
def test_bad_edit_keeps_the_last_good_list(agent: RunningAgent, lines: list[str], line: int, field: str) -> None:
    """The error is counted and logged once, with file, line and field; discovery is down until the next good edit."""
    errors_before = agent.scrape().one("monlat_discovery_errors_total", reason="parse")
    logged_before = agent.log().count("\n")
    agent.write_peers(lines)
    scrape = agent.wait_for_scrape(lambda scrape: scrape.one("monlat_discovery_up") == 0)
    assert scrape.one("monlat_discovery_errors_total", reason="parse") == errors_before + 1
    agent.wait_for_replies(7, to="steady")
    assert agent.scrape().peers() == {"steady"}
    (logged,) = agent.log().splitlines()[logged_before:]
    assert " ERROR " in logged
    assert f"{agent.peers_file}:{line}: " in logged
    assert field in logged
    agent.write_peers([STEADY])
    agent.wait_for_scrape(lambda scrape: scrape.one("monlat_discovery_up") == 1)


def test_more_peers_than_allowed_are_probed_in_part(agent: RunningAgent) -> None:
    """Of seven peers where five are allowed, four are probed: as many before this node as after it in the ring.

    By the bytes 8 to 11 of `openssl dgst -shake128 -xoflen 12` of the names, the order is: guest2, guest1, guest4,
    guest7, guest6, steady, node1, guest5.
    """
    agent.write_peers([STEADY, *(entry(f"guest{number}", f"10.77.0.1{number}") for number in (1, 2, 4, 5, 6, 7))])
    scrape = agent.wait_for_peers("steady", "guest2", "guest5", "guest6")
    assert scrape.one("monlat_discovery_peers_listed") == 7
    assert scrape.one("monlat_discovery_peers_over_limit") == 3
    assert scrape.one("monlat_coverage_nodes") == 8
    assert scrape.one("monlat_coverage_peers") == 4
    assert scrape.one("monlat_discovery_up") == 1


def test_deleted_file_keeps_the_last_good_list(agent: RunningAgent) -> None:
    """While the file is missing, one read error is counted and discovery is down; then all is as before."""
    errors_before = agent.scrape().one("monlat_discovery_errors_total", reason="read")
    agent.peers_file.unlink()
    scrape = agent.wait_for_scrape(lambda scrape: scrape.one("monlat_discovery_up") == 0)
    assert scrape.one("monlat_discovery_errors_total", reason="read") == errors_before + 1
    assert agent.wait_for_replies(7, to="steady").peers() == {"steady"}
    assert str(agent.peers_file) in agent.log().splitlines()[-1]
    agent.write_peers([STEADY])
    agent.wait_for_scrape(lambda scrape: scrape.one("monlat_discovery_up") == 1)


@pytest.mark.parametrize("address", ["10.77.0.1", "10.77.0.3"])
def test_this_node_in_its_own_list_is_left_out(agent: RunningAgent, address: str) -> None:
    """A list that all nodes share contains this node too; the agent finds it by its name, whatever its address."""
    agent.write_peers([STEADY, entry("node1", address), entry("guest", "10.77.0.4")])
    assert names_in(agent.wait_for_peers("steady", "guest")) == {"steady", "guest"}


def test_peer_with_this_nodes_own_address_is_not_probed(agent: RunningAgent) -> None:
    """Such a peer has no series and one warning; with another address it is probed."""
    logged_before = len(agent.log().splitlines())
    agent.write_peers([STEADY, entry("alias", "10.77.0.1"), entry("guest", "10.77.0.4")])
    agent.wait_for_peers("steady", "guest")
    agent.write_peers([STEADY, entry("alias", "10.77.0.1")])
    agent.wait_for_peers("steady")
    warnings = [line for line in agent.log().splitlines()[logged_before:] if " WARNING " in line]
    assert len(warnings) == 1
    assert "alias" in warnings[0]
    agent.write_peers([STEADY, entry("alias", "10.77.0.4")])
    agent.wait_for_peers("steady", "alias")
