"""Interfaces that go down and routes that vanish: whose the losses are, and that all is measured again afterwards."""

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
SETTLING = 13
"""At 50 ms each: until the kernel has noticed what happened, and probes sent before it are past their 300 ms."""
IN_ERROR = 23
AFTERWARDS = 11

Errors = Callable[[bool], None]
"""Begins (True) and ends (False)."""


def measured_in(trouble: Errors, network: Network, directory: Path, peer: str = NODE2) -> tuple[Scrape, Scrape]:
    """Return scrapes between which 23 probes or more of each family ended that were sent in the trouble.

    Before it every probe is answered, and after it again.
    """
    with RunningAgent(network["node1"].namespace, directory, [peer]) as agent:
        assert set(agent.wait_for_replies(3).results()) == {"reply"}
        trouble(True)
        begun = _after_results(agent, SETTLING)
        ended = _after_results(agent, IN_ERROR)
        trouble(False)
        agent.wait_for_replies(3)  # a neighbour that was given up is asked for once in a second
        back = _after_results(agent, SETTLING)
        again = agent.wait_for_replies(AFTERWARDS)
        assert set(losses(back, again)) == {"reply"}
        assert again.has("latency_between_nodes")
        assert "Traceback" not in agent.log()
        assert agent.log().count("cannot be probed") <= 2 * len(Family)  # an errno of an address is logged once
    return begun, ended


def _after_results(agent: RunningAgent, more: int) -> Scrape:
    """Return a scrape when `more` probes of each family ended since now."""
    start = agent.scrape()

    def have_ended(scrape: Scrape) -> bool:
        return all(scrape.total(ENDED, family=family) >= start.total(ENDED, family=family) + more for family in Family)

    return agent.wait_for_scrape(have_ended)


def losses(begun: Scrape, ended: Scrape, **labels: str) -> dict[str, int]:
    """Results between two scrapes, those left out that did not come."""
    before = begun.results(**labels)
    grown = {result: count - before.get(result, 0) for result, count in ended.results(**labels).items()}
    return {result: count for result, count in grown.items() if count}


def device_down(node: Node) -> Errors:
    def set_down(begins: bool) -> None:
        with Links(node.namespace) as links:
            links.set_up(DEVICE, not begins)

    node.namespace.sysctl("net.ipv6.conf.all.keep_addr_on_down", 1)  # IPv6 addresses stay, as IPv4's do
    return set_down


def test_own_interface_down_is_a_send_error(tmp_path: Path) -> None:
    """Each of 23 probes or more of each family is refused by the kernel, counted by errno; then all is as before."""
    with Pair() as pair:
        begun, ended = measured_in(device_down(pair["node1"]), pair, tmp_path)
    for family in Family:
        assert set(losses(begun, ended, family=family)) == {"send_error"}
    refused = losses(begun, ended)["send_error"]
    assert ended.one(ERRORS, kind="ENETUNREACH") - begun.one(ERRORS, kind="ENETUNREACH") == refused


def test_vanished_route_is_a_send_error(tmp_path: Path) -> None:
    """The route deleted: refused by the kernel, counted by errno; with the route back, all is as before."""

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


def test_wire_without_carrier_is_a_loss_of_this_host(tmp_path: Path) -> None:
    """The other end of the wire down: no driver takes the probes, so none of them is blamed on the network."""

    def cut(begins: bool) -> None:
        set_down(begins)
        if begins:
            with Links(pair["node1"].namespace) as links:
                links.wait_until_without_carrier(DEVICE)

    with Pair() as pair:
        set_down = device_down(pair["node2"])
        begun, ended = measured_in(cut, pair, tmp_path)
    for family in Family:
        assert set(losses(begun, ended, family=family)) <= {"lost_host", "send_error"}


def test_peers_interface_down_behind_a_switch_is_a_loss_of_the_network(tmp_path: Path) -> None:
    """Our driver sends, nobody answers: lost_network, for that is all that this node can know."""
    with Cluster(3) as cluster:
        begun, ended = measured_in(device_down(cluster["node2"]), cluster, tmp_path)
    for family in Family:
        assert set(losses(begun, ended, family=family)) == {"lost_network"}


def test_own_firewall_is_a_loss_of_this_host(tmp_path: Path) -> None:
    """A rule that drops what this host sends: none of it is blamed on the network."""

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
