"""The agents of one installation: their pods, what they measure, and commands in them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from testkit.waiting import wait_until
from tests.manifest_files import Object
from tests.real_cluster.api import Api, fetch

NAMESPACE: Final = "monlat"
SELECTOR: Final = "app.kubernetes.io/name=monlat,app.kubernetes.io/component=agent"
PORT: Final = 10045
LATENCY: Final = "latency_between_nodes"
POLL: Final = 0.3
"""Seconds between two looks: each is some requests to the API server."""

Pairs = dict[tuple[str, str, str], Object]
"""Pairs of /api/v1/peers by from, to and family."""


def value(text: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's series that have these labels; 0 if there is none."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())


def label_values(text: str, name: str, label: str) -> set[str]:
    """Return the values of a label in a metric's series that are not 0."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {each.labels[label] for each in samples if each.name == name and each.value}


def lost(pairs: Pairs) -> dict[tuple[str, str, str], int]:
    """Return how many probes of each pair have been lost since its agent knows the peer."""
    return {key: pair["lost"] for key, pair in pairs.items()}


def ordered_pairs(nodes: Iterable[str]) -> set[tuple[str, str]]:
    names = sorted(nodes)
    return {(one, other) for one in names for other in names if one != other}


@dataclass(frozen=True)
class Agents:
    """The agents in a namespace of a cluster."""

    api: Api
    namespace: str = NAMESPACE
    scheme: str = "http"

    def pods(self) -> list[Object]:
        return self.api.items(f"/api/v1/namespaces/{self.namespace}/pods?labelSelector={SELECTOR}")

    def by_node(self) -> dict[str, Object]:
        """Return the pods that run and stay, by node."""
        pods = [pod for pod in self.pods() if "deletionTimestamp" not in pod["metadata"] and is_ready(pod)]
        return {pod["spec"]["nodeName"]: pod for pod in pods}

    def name_on(self, node: str) -> str:
        name: str = self.by_node()[node]["metadata"]["name"]
        return name

    def daemon_set(self) -> Object:
        return self.api.get(f"/apis/apps/v1/namespaces/{self.namespace}/daemonsets/monlat-agent")

    def families(self) -> list[str]:
        """Return the families that the Service and all pods have: ipv4, ipv6 or both."""
        service = self.api.get(f"/api/v1/namespaces/{self.namespace}/services/monlat-agents")
        addresses = [[each["ip"] for each in pod["status"]["podIPs"]] for pod in self.by_node().values()]
        of_pods = [{f"ipv{ip_address(each).version}" for each in ips} for ips in addresses]
        of_service = [family.lower() for family in service["spec"]["ipFamilies"]]
        return [family for family in of_service if all(family in families for families in of_pods)]

    def page(self, node: str, path: str) -> str:
        """Return a page of the agent on a node, through the API server. Raises OSError or KeyError."""
        pod = f"{self.scheme}:{self.name_on(node)}:{PORT}"
        return self.api.text(f"/api/v1/namespaces/{self.namespace}/pods/{pod}/proxy{path}")

    def metrics(self, node: str) -> str:
        return self.page(node, "/metrics")

    def direct_metrics(self, address: str) -> str:
        """Return the metrics of the agent at a node's address, while the API server is away. Raises OSError."""
        return fetch(f"http://{address}:{PORT}/metrics")

    def pairs(self, *nodes: str) -> Pairs:
        """Return what the agents on the nodes measure. Raises OSError or KeyError."""
        documents = [json.loads(self.page(node, "/api/v1/peers")) for node in nodes]
        return {
            (pair["from"], pair["to"], pair["family"]): {**pair, "source": document["source"]}
            for document in documents
            for pair in document["pairs"]
        }

    def wait_complete(self, nodes: Iterable[str], replies: int = 3, *, seconds: float = 180) -> Pairs:
        """Wait until the agents on exactly these nodes measure all pairs in all families, and return the pairs."""
        names = sorted(nodes)
        pairs: Pairs = {}

        def are_measured() -> bool:
            nonlocal pairs
            if set(self.by_node()) != set(names):
                return False
            pairs = self.pairs(*names)
            expected = {(*pair, family) for pair in ordered_pairs(names) for family in self.families()}
            replied = all(pair["replies"] >= replies and pair["rtt_seconds"]["last"] for pair in pairs.values())
            return replied and pairs.keys() == expected

        wait(are_measured, lambda: f"the agents on {names} do not measure all pairs: {self.describe()}", seconds)
        return pairs

    def execute(self, node: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the agent's container on a node, as an operator does."""
        return self.api.start("exec", "--namespace", self.namespace, self.name_on(node), "--", *command)

    def describe(self) -> str:
        """Return the state of the pods and the last lines of their logs, for a failure's message."""
        shown = self.api.start("get", "pods", "--namespace", self.namespace, "--output", "wide").stdout
        logs = self.api.start("logs", "--namespace", self.namespace, "--selector", SELECTOR, "--prefix", "--tail=5")
        events = self.api.start("get", "events", "--namespace", self.namespace, "--sort-by=.lastTimestamp").stdout
        return f"\n{shown}{logs.stdout}{logs.stderr}{events[-2000:]}"


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def restarts(pod: Object) -> int:
    return sum(each["restartCount"] for each in pod["status"]["containerStatuses"])


def wait(condition: Callable[[], object], failure: str | Callable[[], str], seconds: float = 120) -> None:
    """Wait for a condition on the cluster. What cannot be read yet does not hold yet."""

    def holds() -> bool:
        try:
            return bool(condition())
        except (OSError, KeyError):
            return False

    try:
        wait_until(holds, "it did not happen", seconds=seconds, pause=POLL)
    except TimeoutError as error:
        raise TimeoutError(f"{failure if isinstance(failure, str) else failure()} ({error})") from None
