"""`kubectl apply -k`: agents on every node, the whole matrix, and no right more than they need."""

from __future__ import annotations

import pytest

from tests.real_cluster.agents import LATENCY, Agents, label_values, ordered_pairs, value, wait

ZONE = "topology.kubernetes.io/zone"
ACCOUNT = "--as=system:serviceaccount:monlat:monlat-agent"


def test_matrix_is_complete(installed: Agents, nodes: list[str]) -> None:
    """`latency_between_nodes` has every ordered pair, each once, and all in milliseconds above zero."""
    for node in nodes:
        text = installed.metrics(node)
        assert label_values(text, LATENCY, "from") == {node}
        assert label_values(text, LATENCY, "to") == {other for other in nodes if other != node}
        assert text.count(f"\n{LATENCY}{{") == len(nodes) - 1


def test_pairs_are_measured_at_the_driver_in_every_family_with_their_zones(installed: Agents, nodes: list[str]) -> None:
    """All pairs in all families of the Service; the zones are those of the nodes' labels; nothing is lost."""
    pairs = installed.wait_complete(nodes, replies=7)
    zones = {name: node["metadata"]["labels"].get(ZONE, "") for name, node in installed.api.nodes().items()}
    assert len(pairs) == len(ordered_pairs(nodes)) * len(installed.families())
    assert {pair["source"] for pair in pairs.values()} == {"tracepoint"}
    assert [pair for pair in pairs.values() if pair["from_zone"] != zones[pair["from"]]] == []
    assert [pair for pair in pairs.values() if pair["to_zone"] != zones[pair["to"]]] == []
    assert {pair["lost"] for pair in pairs.values()} == {0}
    assert all(pair["device"] for pair in pairs.values())


@pytest.mark.own_cluster("needs both address families, which another cluster may not have")
def test_both_families_are_measured(installed: Agents) -> None:
    """The tests' own cluster is dual stack."""
    assert sorted(installed.families()) == ["ipv4", "ipv6"]


def test_agents_report_from_each_other(installed: Agents, nodes: list[str]) -> None:
    """Each pair has a network RTT: the peer's agent reported what its kernel saw."""

    def reported(node: str, peer: str) -> bool:
        return value(installed.metrics(node), "monlat_network_rtt_seconds_count", to=peer) > 0

    wait(lambda: all(reported(*pair) for pair in ordered_pairs(nodes)), "a peer does not report")


def test_running_agents_hold_no_capability(installed: Agents, nodes: list[str]) -> None:
    """The kernel's own record agrees with the metric: after the start, all have been dropped."""
    for node in nodes:
        held = label_values(installed.metrics(node), "monlat_held_capability", "capability")
        assert held == set()
        program = "print(open('/proc/1/status').read())"
        done = installed.execute(node, "python3", "-c", program)
        assert done.returncode == 0, done.stderr
        status = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
        assert int(status["CapEff"], 16) == 0
        assert status["Uid"].split() == ["65532"] * 4
        assert status["Seccomp"] == "2"  # a filter


def test_the_service_account_reads_endpointslices_and_nothing_else(installed: Agents) -> None:
    """Asked of the real authorizer, as the account."""
    in_namespace = ("--namespace", installed.namespace)
    allowed = {
        ("list", "endpointslices", *in_namespace): True,
        ("watch", "endpointslices", *in_namespace): True,
        ("update", "endpointslices", *in_namespace): False,
        ("list", "endpointslices", "--namespace", "default"): False,
        ("list", "pods", *in_namespace): False,
        ("get", "secrets", *in_namespace): False,
        ("list", "nodes"): False,
    }
    answers = {question: installed.api.start("auth", "can-i", *question, ACCOUNT).stdout for question in allowed}
    assert {question: text.strip() == "yes" for question, text in answers.items()} == allowed


def test_commands_run_in_the_pod(installed: Agents, nodes: list[str]) -> None:
    """`kubectl exec … monlat doctor|peers|explain`: each works beside the agent, with the pod's own rights."""
    node, peer, *_ = nodes
    expected = {
        ("monlat", "doctor"): "driver level here",
        ("monlat", "peers"): peer,
        ("monlat", "explain", peer): f"{node} ",
    }
    for command, text in expected.items():
        done = installed.execute(node, *command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        assert text in done.stdout
