"""The collector in the cluster, asked at the address of its Service."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.real_cluster.agents import LATENCY, NAMESPACE
from tests.real_cluster.api import Api

PATH = f"/api/v1/namespaces/{NAMESPACE}/services/monlat:9090/proxy"
"""The API server passes on what is asked here to a pod of the Service, as `curl monlat:9090` in a pod does."""

_SELECTOR = "app.kubernetes.io/component=collector"


@dataclass(frozen=True)
class Collector:
    """That of the installation; it can be asked when it is ready."""

    api: Api

    def wait(self) -> None:
        self.api.run("rollout", "status", "deployment/monlat", "--namespace", NAMESPACE, "--timeout=240s")

    def latencies(self) -> dict[tuple[str, str], float]:
        """Milliseconds by pair, from its metrics."""
        families = text_string_to_metric_families(self.api.text(f"{PATH}/metrics"))
        samples = (sample for family in families for sample in family.samples)
        return {(each.labels["from"], each.labels["to"]): each.value for each in samples if each.name == LATENCY}

    def diagnosis(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.api.text(f"{PATH}/api/v1/diagnosis"))
        return document

    def broken(self) -> set[tuple[str, tuple[str, ...]]]:
        """What it names as broken: kinds and names."""
        return {(each["kind"], tuple(each["names"])) for each in self.diagnosis()["diagnoses"]}

    def nodes(self) -> set[str]:
        """The nodes on which it runs."""
        pods = self.api.items(f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={_SELECTOR}")
        return {pod["spec"]["nodeName"] for pod in pods}
