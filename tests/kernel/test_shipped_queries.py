"""Every query that is shipped - of dashboards, rules and recipes - returns data from a real cluster that has the fault.

Debian's Prometheus, one with classic and one with native histograms, evaluates the shipped rules, and is asked every
query, while one part of the test bed after another is broken and restored.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from testkit.waiting import wait_until
from tests.kernel.monitored_cluster import COLLECTOR_PORT, PROBES_A_SECOND, ZONES, MonitoredCluster
from tests.kernel.prometheus_server import Prometheus
from tests.kernel.shipped_queries import Query, fast_rules, panels, recipes, rules, variables
from tests.manifest_files import MANIFESTS

SECONDS = 75.0  # of a busy machine, to see a fault
LAZY_PORT = 9089  # of a collector that decides no window before the end of the test
LOOK_BACK = 20.0  # asking every query takes some of these
KINDS = {"classic": "monlat_rtt_seconds_bucket", "native": "monlat_rtt_seconds"}
ACROSS = [(one, other) for one in ("node1", "node2") for other in ("node3", "node4")]
"""The pairs between zones a and b."""

SLOW_NODE = {
    "MonlatDiagnosedNode",
    "monlat:diagnosis:confidence",
    "monlat:diagnosed_node",
    "monlat:pair_impaired slower",
    "monlat:node_impaired_pairs:ratio",
    "cluster: What is broken, A",
    "cluster: What was broken, and when, A",
}
STOPPED_NODE = {
    "monlat:pair_impaired lossy",
    "monlat:node_unreachable:families",
    "monlat:silent_node",
    "MonlatNodeUnreachable",
}
BROKEN_PAIR = {"monlat:diagnosed_pair", "MonlatDiagnosedPair", "monlat:pair_impaired:unexplained"}
BROKEN_ZONES = {"MonlatDiagnosedZonePair"}
HANGING_AGENT = {"monlat:diagnosed_agent", "MonlatDiagnosedAgent"}
UNDETERMINED = {"MonlatDiagnosisUndetermined"}
FEW_AGENTS = {"monlat:diagnosis_blind few_agents"}
COLLECTOR_DOWN = {"monlat:diagnosis_blind collector_down", "MonlatAgentDown"}
TAKEN_OVER_PAIR = {"MonlatProbesLost"}
TAKEN_OVER_SLOW_PAIR = {"MonlatPairSlower"}
TAKEN_OVER_NODE = {"MonlatNodeImpaired"}
TAKEN_OVER_NETWORK = {"monlat:network_impaired:pairs", "MonlatNetworkImpaired"}
NO_AGENTS = {"MonlatAbsent"}
WITH_A_FAULT = set().union(
    *(SLOW_NODE, STOPPED_NODE, BROKEN_PAIR, BROKEN_ZONES, HANGING_AGENT, UNDETERMINED, FEW_AGENTS, COLLECTOR_DOWN),
    *(TAKEN_OVER_PAIR, TAKEN_OVER_SLOW_PAIR, TAKEN_OVER_NODE, TAKEN_OVER_NETWORK, NO_AGENTS),
)
"""Names of the queries that return nothing while all is well. All others must return data then."""


class Monitored:
    """The cluster, its collector and the two servers by the kind of their histograms."""

    def __init__(self, bed: MonitoredCluster, collector: int, servers: Mapping[str, Prometheus]) -> None:
        self.bed = bed
        self.collector = collector
        self.servers = servers

    def wait_for(self, names: set[str]) -> None:
        """Wait until the queries of these names return data."""
        self.wait_for_queries(query for query in every_query() if query.name in names)

    def wait_for_queries(self, queries: Iterable[Query]) -> None:
        """Wait until each query has returned data: a panel's and a recipe's from both servers, a rule's from one."""
        missing = {(query, server) for query in queries for server in self._servers_for(query)}

        def ask() -> bool:
            missing.difference_update([one for one in missing if any(self._has_data(one[0], kind) for kind in one[1])])
            return not missing

        try:
            wait_until(ask, seconds=SECONDS, pause=0.5)
        except TimeoutError:
            pytest.fail(
                "no data:\n" + "\n".join(f"{query.name} ({kinds}): {query.expression}" for query, kinds in missing)
            )

    def _servers_for(self, query: Query) -> list[tuple[str, ...]]:
        return [tuple(KINDS)] if query in set(rules()) else [(kind,) for kind in KINDS]

    def _has_data(self, query: Query, kind: str) -> bool:
        expression = query.expression.replace("$rtt", KINDS[kind])
        return any(has_number(series) for series in self.servers[kind].last_seconds(expression, LOOK_BACK))


def has_number(series: Mapping[str, Any]) -> bool:
    """A float, or a native histogram."""
    return bool(series.get("histograms")) or any(not math.isnan(float(value)) for _, value in series.get("values", ()))


def every_query() -> list[Query]:
    return [*panels(), *rules(), *recipes()]


def jobs(targets: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """Return the shipped jobs with these targets, each with its `network`, labelled as the discovery would do it."""
    shipped = yaml.safe_load((MANIFESTS / "prometheus" / "scrape.yml").read_text())["scrape_configs"]
    labels = {"cluster": "demo", "namespace": "monlat"}
    return {
        job["job_name"]: {
            "static_configs": [
                {"targets": [target], "labels": labels | {"node": target, "network": network}}
                for target, network in targets[job["job_name"]].items()
            ],
            "metric_relabel_configs": job.get("metric_relabel_configs", []),
        }
        for job in shipped
    }


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    directory = tmp_path_factory.mktemp("monitored")
    with ExitStack() as stack:
        bed = stack.enter_context(MonitoredCluster(directory))
        collectors = {
            f"127.0.0.1:{COLLECTOR_PORT}": "host-network",
            f"127.0.0.1:{LAZY_PORT}": "pod-network",  # another installation
        }
        scraped = jobs({"monlat": dict.fromkeys(bed.agent_targets, "host-network"), "monlat-collector": collectors})
        files = fast_rules(directory)
        servers = {
            kind: stack.enter_context(
                Prometheus(
                    bed.management, directory, scraped, port=port, rules=files, native_histograms=kind == "native"
                )
            )
            for kind, port in (("classic", 9091), ("native", 9092))
        }
        bed.start_collector(LAZY_PORT, interval="10m")
        yield Monitored(bed, bed.start_collector().process.pid, servers)


@contextmanager
def hanging(*processes: int) -> Iterator[None]:
    """Stop processes for the block: their sockets accept, and nobody answers."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


@contextmanager
def rerouted(
    bed: MonitoredCluster, pairs: list[tuple[str, str]], *, packets_a_second: int | None = None
) -> Iterator[None]:
    bed.reroute(pairs, packets_a_second=packets_a_second)
    try:
        yield
    finally:
        bed.restore(pairs, packets_a_second=packets_a_second)


@contextmanager
def slow(bed: MonitoredCluster, *nodes: str) -> Iterator[None]:
    for node in nodes:
        bed.slow_down(node)
    try:
        yield
    finally:
        for node in nodes:
            bed.speed_up(node)


def test_names_of_faults_are_names_of_queries() -> None:
    """Each is in one test below, and no two queries have the same name."""
    names = [query.name for query in every_query()]
    assert len(set(names)) == len(names)
    assert set(names) >= WITH_A_FAULT


def test_healthy_cluster_answers_all_queries_that_need_no_fault(monitored: Monitored) -> None:
    monitored.wait_for_queries(query for query in every_query() if query.name not in WITH_A_FAULT)


def test_variables_have_values(monitored: Monitored) -> None:
    """Each variable of each dashboard has values to choose from; the histograms are those that the server has."""
    for kind, server in monitored.servers.items():
        for variable in variables():
            values = server.label_values(variable.label, variable.selector)
            assert values, variable
            if variable.name.endswith("$rtt"):
                assert values == [KINDS[kind]]


def test_slow_node(monitored: Monitored) -> None:
    """Everything towards node5 waits in a queue."""
    with slow(monitored.bed, "node5"):
        monitored.wait_for(SLOW_NODE)


def test_stopped_node(monitored: Monitored) -> None:
    """node5 is cut off."""
    monitored.bed.stop("node5")
    try:
        monitored.wait_for(STOPPED_NODE)
    finally:
        monitored.bed.stop("node5", stopped=False)


def test_broken_pair(monitored: Monitored) -> None:
    """Nothing passes between node1 and node2."""
    with rerouted(monitored.bed, [("node1", "node2")]):
        monitored.wait_for(BROKEN_PAIR)


def test_broken_zone_pair(monitored: Monitored) -> None:
    """Nothing passes between zones a and b."""
    with rerouted(monitored.bed, ACROSS):
        monitored.wait_for(BROKEN_ZONES)


def test_hanging_agent(monitored: Monitored) -> None:
    """The agent of node4 answers nobody; its node does."""
    with hanging(monitored.bed.agents["node4"].process.pid):
        monitored.wait_for(HANGING_AGENT)


def test_too_few_witnesses(monitored: Monitored) -> None:
    """The collector knows node1 and node2 alone, and nothing passes between them."""
    monitored.bed.list_for_collector(["node1", "node2"])
    try:
        with rerouted(monitored.bed, [("node1", "node2")]):
            monitored.wait_for(UNDETERMINED)
    finally:
        monitored.bed.list_for_collector(ZONES)


def test_silent_agents_blind_the_diagnosis(monitored: Monitored) -> None:
    """Three of five hang."""
    with hanging(*(monitored.bed.agents[node].process.pid for node in ("node2", "node3", "node4"))):
        monitored.wait_for(FEW_AGENTS)


def test_rules_without_diagnosis_find_a_broken_pair_and_an_agent(monitored: Monitored) -> None:
    """The collector hangs, and the agent of node4; nothing passes between node1 and node2."""
    with (
        hanging(monitored.collector, monitored.bed.agents["node4"].process.pid),
        rerouted(monitored.bed, [("node1", "node2")]),
    ):
        monitored.wait_for(TAKEN_OVER_PAIR | COLLECTOR_DOWN)


def test_rules_without_diagnosis_find_a_slow_pair(monitored: Monitored) -> None:
    """The collector hangs; probes between node1 and node2, and the replies, wait in a queue."""
    with (
        hanging(monitored.collector),
        rerouted(monitored.bed, [("node1", "node2")], packets_a_second=2 * PROBES_A_SECOND),
    ):
        monitored.wait_for(TAKEN_OVER_SLOW_PAIR)


def test_rules_without_diagnosis_find_a_node(monitored: Monitored) -> None:
    """The collector hangs; everything towards node5 waits in a queue."""
    with hanging(monitored.collector), slow(monitored.bed, "node5"):
        monitored.wait_for(TAKEN_OVER_NODE)


def test_rules_without_diagnosis_find_the_network(monitored: Monitored) -> None:
    """The collector hangs; everything towards any node waits."""
    with hanging(monitored.collector), slow(monitored.bed, *ZONES):
        monitored.wait_for(TAKEN_OVER_NETWORK)


def test_server_without_agents(monitored: Monitored, tmp_path: Path) -> None:
    """It has no target."""
    with Prometheus(monitored.bed.management, tmp_path, {}, port=9093, rules=fast_rules(tmp_path)) as server:
        (absent,) = (query for query in rules() if query.name in NO_AGENTS)
        wait_until(lambda: any(has_number(series) for series in server.last_seconds(absent.expression, LOOK_BACK)))
