"""Links that go down and routes that vanish: where the losses are attributed, and that measuring resumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from monlat_ebpf.model import Family
from monlat_ebpf.testbed.network import DEVICE, Cluster, Network, Node
from testkit.links import Links
from testkit.pair import Pair
from tests.kernel.agents import RunningAgent, Scrape, entry

ENDED = "monlat_probe_results_total"
ERRORS = "monlat_probe_errors_total"
NODE2 = entry("node2", "10.77.0.2", "fd77::2")
TRANSITION = 13
"""Probes of 50 ms each: until the kernel has noticed the change, and older probes have passed their 300 ms."""
DURING_FAULT = 23
AFTERWARDS = 11

Fault = Callable[[bool], None]
"""Begins with True, ends with False."""


def measured_in(fault: Fault, network: Network, directory: Path, peer: str = NODE2) -> tuple[Scrape, Scrape]:
    """Return two scrapes during the fault, between which at least 23 probes of each family ended.

    Check that every probe is answered before and after the fault.
    """
    with RunningAgent(network["node1"].namespace, directory, [peer]) as agent:
        assert set(agent.wait_for_replies(3).results()) == {"reply"}
        fault(True)
        begun = _after_results(agent, TRANSITION)
        ended = _after_results(agent, DURING_FAULT)
        fault(False)
        agent.wait_for_replies(3)  # the kernel repeats a failed ARP or NDP request once a second
        back = _after_results(agent, TRANSITION)
        again = agent.wait_for_replies(AFTERWARDS)
        assert set(losses(back, again)) == {"reply"}
        assert again.has("latency_between_nodes")
        assert "Traceback" not in agent.log()
        assert agent.log().count("cannot be probed") <= 2 * len(Family)  # each errno is logged once per address
    return begun, ended


def _after_results(agent: RunningAgent, more: int) -> Scrape:
    """Wait until `more` further probes of each family have ended, and return a scrape."""
    start = agent.scrape()

    def have_ended(scrape: Scrape) -> bool:
        return all(scrape.total(ENDED, family=family) >= start.total(ENDED, family=family) + more for family in Family)

    return agent.wait_for_scrape(have_ended)


def losses(begun: Scrape, ended: Scrape, **labels: str) -> dict[str, int]:
    """Return the number of results by name between two scrapes, without zeros."""
    before = begun.results(**labels)
    grown = {result: count - before.get(result, 0) for result, count in ended.results(**labels).items()}
    return {result: count for result, count in grown.items() if count}


def device_down(node: Node) -> Fault:
    def set_down(begins: bool) -> None:
        with Links(node.namespace) as links:
            links.set_up(DEVICE, not begins)

    node.namespace.sysctl("net.ipv6.conf.all.keep_addr_on_down", 1)  # keep IPv6 addresses, as IPv4 does
    return set_down


def test_own_interface_down_is_a_send_error(tmp_path: Path) -> None:
    """The kernel refuses every probe, which is counted by errno; afterwards all are answered again."""
    with Pair() as pair:
        begun, ended = measured_in(device_down(pair["node1"]), pair, tmp_path)
    for family in Family:
        assert set(losses(begun, ended, family=family)) == {"send_error"}
    refused = losses(begun, ended)["send_error"]
    assert ended.one(ERRORS, kind="ENETUNREACH") - begun.one(ERRORS, kind="ENETUNREACH") == refused


def test_deleted_route_is_a_send_error(tmp_path: Path) -> None:
    """The kernel refuses every probe, which is counted by errno; with the route back, all are answered again."""

    def without_route(begins: bool) -> None:
        with Links(pair["node1"].namespace) as links:
            change = links.delete_route if begins else links.add_route
            change("10.88.0.0/24", gateway=pair["node2"].ipv4)
            change("fd88::/64", gateway=pair["node2"].ipv6)

    with Pair() as pair:
        with Links(pair["node2"].namespace) as links:
            links.add_address("lo", "10.88.0.1/32")
            links.add_address("lo", "fd88::1/128")
        without_route(False)
        begun, ended = measured_in(without_route, pair, tmp_path, entry("routed", "10.88.0.1", "fd88::1"))
    for family in Family:
        assert set(losses(begun, ended, family=family)) == {"send_error"}
    refused = losses(begun, ended)["send_error"]
    assert ended.one(ERRORS, kind="ENETUNREACH") - begun.one(ERRORS, kind="ENETUNREACH") == refused


def test_link_without_carrier_is_no_loss_of_this_host(tmp_path: Path) -> None:
    """The other end of the wire is down. The kernel forgets link addresses, and nobody answers for the next hop."""

    def cut(begins: bool) -> None:
        set_down(begins)
        if begins:
            with Links(pair["node1"].namespace) as links:
                links.wait_until_without_carrier(DEVICE)

    with Pair() as pair:
        set_down = device_down(pair["node2"])
        begun, ended = measured_in(cut, pair, tmp_path)
    for family in Family:
        assert set(losses(begun, ended, family=family)) <= {"unreachable", "send_error"}


def test_peers_interface_down_behind_a_switch_is_a_loss_of_the_network(tmp_path: Path) -> None:
    """Our driver sends and nobody answers. This node cannot know more."""
    with Cluster(3) as cluster:
        begun, ended = measured_in(device_down(cluster["node2"]), cluster, tmp_path)
    for family in Family:
        assert set(losses(begun, ended, family=family)) == {"lost_network"}


def test_own_firewall_is_a_loss_of_this_host(tmp_path: Path) -> None:
    """A rule drops what this host sends, so nothing is lost in the network."""

    def drop_output(begins: bool) -> None:
        rules = "table inet test { chain c { type filter hook output priority 0; icmp type echo-request drop;"
        rules += " icmpv6 type echo-request drop; }; }"
        command = ["nft", rules] if begins else ["nft", "delete table inet test"]
        ran = pair["node1"].namespace.run(command)
        assert ran.returncode == 0, ran.stderr

    with Pair() as pair:
        begun, ended = measured_in(drop_output, pair, tmp_path)
    for family in Family:
        assert set(losses(begun, ended, family=family)) <= {"lost_host", "send_error"}
