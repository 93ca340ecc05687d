"""The six situations of a cluster's year in which an alert would be a false one, and the faults next to them.

Each is recorded as each way of scraping sees it, and promtool evaluates the shipped rules over it. "No alert" means:
no alert of any file of rules fires at any time of the recording.
"""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path as File
from typing import Any

import pytest

from tests.cluster.recorded_series import DEAD, HEALTHY, MILLISECOND, Path, Recording, as_test
from tests.cluster.scraping import ANNOTATIONS, POD_MONITOR, SCRAPE_YML, WAYS, collector_labels, target_labels
from tests.manifest_files import RULES

NODES = ("n1", "n2", "n3", "n4")
REST = NODES[:-1]
DAY = 24 * 60
SLOW = Path(rtt_ns=2 * MILLISECOND)

every_way = pytest.mark.parametrize("way", WAYS)


def recording(way: str, *, buckets: bool = False) -> Recording:
    return Recording(way, "".join(file.read_text() for file in RULES[:2]), buckets=buckets)


def check(recorded: Recording, folder: File, *expected: dict[str, str], extra: tuple[dict[str, str], ...] = ()) -> None:
    """Let promtool check that exactly the `expected` alerts fire. `extra` are series of other exporters."""
    case = as_test(recorded, list(expected))
    case["input_series"] += extra
    seconds = recorded.scrape_seconds
    tests = {"rule_files": [str(file) for file in RULES], "evaluation_interval": f"{seconds}s", "tests": [case]}
    (folder / "tests.yml").write_text(json.dumps(tests))  # which is YAML, too
    command = ["promtool", "test", "rules", str(folder / "tests.yml")]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stdout + process.stderr


def alert(name: str, way: str, **labels: str) -> dict[str, str]:
    """Return the labels of an alert. Only scraping by annotations gives no label `network`."""
    network = {} if way == ANNOTATIONS else {"network": "host-network"}
    return {"alertname": name, "cluster": "east", **network, **labels}


def to_last(dead: Path) -> Any:
    return lambda _from, to: dead if to == NODES[-1] else HEALTHY


def reboot(recorded: Recording, minutes: float) -> None:
    """The last node, which also runs the API server, is off for `minutes`."""
    recorded.phase(20, peers=NODES)
    recorded.phase(minutes, peers=NODES, between=to_last(DEAD), silent=NODES[-1:], discovery_up=False)
    recorded.phase(30, peers=NODES)


@every_way
def test_drained_and_rebooted_node_raises_nothing(way: str, tmp_path: File) -> None:
    """Drain leaves a DaemonSet's pod; the reboot takes 9 minutes, in which peers and Prometheus see the node dead."""
    recorded = recording(way)
    reboot(recorded, 9)
    check(recorded, tmp_path)


@every_way
def test_node_that_does_not_come_back_raises_one_alert(way: str, tmp_path: File) -> None:
    """The same, longer: the node, and for the three others the API server on it; neither its agent nor a pair."""
    recorded = recording(way)
    reboot(recorded, 30)
    instance = {node: target_labels(way, node, 0)["instance"] for node in NODES}
    discovery = [alert("MonlatDiscoveryDown", way, node=node, instance=instance[node]) for node in REST]
    check(recorded, tmp_path, alert("MonlatNodeUnreachable", way, node="n4"), *discovery)


@every_way
def test_cordoned_node_raises_nothing_for_hours(way: str, tmp_path: File) -> None:
    """Where kube-state-metrics tells that the node is unschedulable, its maintenance may last."""
    recorded = recording(way)
    recorded.phase(20, peers=NODES)
    recorded.phase(120, peers=NODES, between=to_last(DEAD), silent=NODES[-1:])
    cordoned = {
        "series": 'kube_node_spec_unschedulable{node="n4",job="kube-state-metrics",cluster="east"}',
        "values": f"0x20 1x{recorded.scrapes}",
    }
    check(recorded, tmp_path, extra=(cordoned,))


@every_way
def test_scale_down_raises_nothing(way: str, tmp_path: File) -> None:
    """The machine is off for 12 minutes before Kubernetes removes the node. For one more, it is still a peer."""
    recorded = recording(way)
    recorded.phase(20, peers=NODES)
    recorded.phase(13, peers=NODES, between=to_last(DEAD), silent=NODES[-1:])
    recorded.phase(40, peers=REST)
    check(recorded, tmp_path)


@every_way
def test_scale_up_raises_nothing(way: str, tmp_path: File) -> None:
    """The new node is listed while it boots: its first four minutes are all loss."""
    recorded = recording(way)
    recorded.phase(20, peers=REST)
    recorded.phase(4, peers=NODES, between=to_last(DEAD), silent=NODES[-1:])
    recorded.phase(30, peers=NODES)
    check(recorded, tmp_path)


@pytest.mark.parametrize("way", [SCRAPE_YML, POD_MONITOR])
def test_series_keep_their_labels_over_a_rollout(way: str) -> None:
    """The configurations that we ship give an agent no label of its pod."""
    before, after = (target_labels(way, "n1", generation) for generation in (0, 1))
    assert before == after
    assert after == {"instance": "n1", "job": "monlat", "namespace": "monlat", "network": "host-network", "node": "n1"}


@every_way
def test_rollout_raises_nothing(way: str, tmp_path: File) -> None:
    """Each pod is replaced by one of another name and revision; on the pod network, 5 s are lost with its address."""
    recorded = recording(way)
    recorded.phase(20, peers=NODES)
    moving = Path(lost=5 / 60)
    for node in NODES:
        recorded.phase(1, peers=NODES, between=partial(replaced, node, moving), silent=[node])
        recorded.generation[node] = 1
        recorded.phase(1, peers=NODES)
    recorded.phase(20, peers=NODES)
    check(recorded, tmp_path)


def replaced(node: str, moving: Path, _from: str, to: str) -> Path:
    return moving if to == node else HEALTHY


@every_way
def test_cluster_of_one_raises_nothing(way: str, tmp_path: File) -> None:
    """Its agent has no pair."""
    recorded = recording(way)
    recorded.phase(60, peers=NODES[:1])
    check(recorded, tmp_path)


@every_way
def test_bad_network_card_raises_one_alert(way: str, tmp_path: File) -> None:
    """It loses 5 % and takes 2 ms, in all pairs of the node, both directions and families: 24 series, one alert."""
    recorded = recording(way, buckets=True)
    bad = Path(lost=0.05, rtt_ns=2 * MILLISECOND)
    recorded.phase(70, peers=NODES)
    recorded.night(DAY - 70, NODES)
    recorded.phase(60, peers=NODES, between=lambda from_, to: bad if "n4" in {from_, to} else HEALTHY)
    check(recorded, tmp_path, alert("MonlatNodeImpaired", way, node="n4"))


def collector(recorded: Recording, way: str, element: str, kind: str, begin: int, minutes: int) -> list[dict[str, str]]:
    """Return the series of a collector that names `element` from minute `begin` on."""

    def series(name: str, values: str, **more: str) -> dict[str, str]:
        labels = collector_labels(way) | {"cluster": "east"} | more
        text = ",".join(f'{label}="{content}"' for label, content in labels.items())
        return {"series": f"{name}{{{text}}}", "values": values}

    scrapes = [round(each * 60 / recorded.scrape_seconds) for each in (begin, minutes)]
    return [
        series("up", f"1x{recorded.scrapes}"),
        series("monlat_collector_agents", f"{len(NODES)}x{recorded.scrapes}"),
        series("monlat_collector_agents_answering", f"{len(NODES)}x{recorded.scrapes}"),
        series("monlat_diagnosis_windows_total", f"0+12x{recorded.scrapes}"),
        series("monlat_diagnosis", f"_x{scrapes[0]} 0.99x{scrapes[1]} stale", element=element, kind=kind, state="open"),
    ]


@every_way
def test_collector_has_the_labels_by_which_the_rules_join_it_to_its_agents(way: str) -> None:
    """It is of no job that means agents, and has their namespace and network."""
    labels, agent = collector_labels(way), target_labels(way, "n1", 0)
    assert {name: labels.get(name) for name in ("namespace", "network")} == {
        name: agent.get(name) for name in ("namespace", "network")
    }
    assert labels["job"] == ("kubernetes-pods" if way == ANNOTATIONS else "monlat-collector")


@every_way
def test_bad_network_card_raises_one_alert_of_the_diagnosis(way: str, tmp_path: File) -> None:
    """The same 24 series; with a collector that names the node, its alert takes the part of MonlatNodeImpaired."""
    recorded = recording(way)
    recorded.phase(30, peers=NODES)
    recorded.phase(60, peers=NODES, between=lambda from_, to: Path(lost=0.05) if "n4" in {from_, to} else HEALTHY)
    named = collector(recorded, way, "node n4 (what it sends and what it receives)", "node", 30, 60)
    check(recorded, tmp_path, alert("MonlatDiagnosedNode", way, node="n4"), extra=tuple(named))


@every_way
def test_reboot_that_the_diagnosis_names_raises_nothing(way: str, tmp_path: File) -> None:
    """The node is silent, so it has the 15 minutes of MonlatNodeUnreachable."""
    recorded = recording(way)
    reboot(recorded, 9)
    check(recorded, tmp_path, extra=tuple(collector(recorded, way, "node n4", "node", 20, 9)))


def backup(recorded: Recording, path: Path) -> None:
    """Record two hours of three nodes, in one of which a backup makes all pairs as slow as `path`."""
    recorded.phase(30, peers=NODES[:3])
    recorded.phase(60, peers=NODES[:3], between=lambda _from, _to: path)
    recorded.phase(30, peers=NODES[:3])


@every_way
def test_yesterday_as_slow_as_today_raises_nothing(way: str, tmp_path: File) -> None:
    """A backup makes all pairs ten times slower, every day at the same hour."""
    recorded = recording(way, buckets=True)
    backup(recorded, SLOW)
    recorded.night(DAY - 120, NODES[:3])
    backup(recorded, SLOW)
    check(recorded, tmp_path)


def test_slow_network_raises_one_alert(tmp_path: File) -> None:
    """The same backup for the first time: every node has slow pairs, so no node is to blame."""
    recorded = recording(SCRAPE_YML, buckets=True)
    backup(recorded, HEALTHY)
    recorded.night(DAY - 120, NODES[:3])
    backup(recorded, SLOW)
    check(recorded, tmp_path, alert("MonlatNetworkImpaired", SCRAPE_YML))


@every_way
def test_too_many_nodes_raise_one_alert(way: str, tmp_path: File) -> None:
    """Every agent leaves out 97 nodes, for an hour: one alert, not one of each agent."""
    recorded = recording(way)
    recorded.phase(20, peers=NODES)
    recorded.phase(60, peers=NODES, over_limit=97)
    check(recorded, tmp_path, alert("MonlatPeersOverLimit", way))


@every_way
def test_too_many_nodes_for_ten_minutes_raise_nothing(way: str, tmp_path: File) -> None:
    """The limit is raised by a rollout that begins when the nodes join."""
    recorded = recording(way)
    recorded.phase(20, peers=NODES)
    recorded.phase(10, peers=NODES, over_limit=97)
    recorded.phase(20, peers=NODES)
    check(recorded, tmp_path)
