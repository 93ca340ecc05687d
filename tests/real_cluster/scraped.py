"""Debian's Prometheus with the shipped scrape configuration and rules, on the agents' real pods.

Debian builds it without the discovery of Kubernetes. A file replaces it here, with the labels that this discovery gives
to the pods of the API server's list: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#pod
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.manifest_files import MANIFESTS, RULES, Object
from tests.real_cluster.agents import LATENCY, Agents, ordered_pairs, wait
from tests.real_cluster.api import fetch

pytestmark = [
    pytest.mark.own_cluster("starts Prometheus here, which must reach the nodes' addresses"),
    pytest.mark.timeout(600),
]

PROMETHEUS = MANIFESTS / "prometheus"


class Prometheus:
    """A running one, at an address."""

    def __init__(self, address: str) -> None:
        self._address = address

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query. Raises OSError before it is up."""
        answer = json.loads(fetch(f"http://{self._address}/api/v1/query?query={quote(expression)}"))
        series: list[dict[str, Any]] = answer["data"]["result"]
        return series

    def rules(self) -> list[dict[str, Any]]:
        answer = json.loads(fetch(f"http://{self._address}/api/v1/rules"))
        return [rule for group in answer["data"]["groups"] for rule in group["rules"]]


def discovered(pods: Sequence[Object]) -> list[Object]:
    """Return a target for each port of each container, with its labels."""
    return [
        {
            "targets": [f"{pod['status']['podIP']}:{port['containerPort']}"],
            "labels": {
                "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
                "__meta_kubernetes_pod_name": pod["metadata"]["name"],
                "__meta_kubernetes_pod_ip": pod["status"]["podIP"],
                "__meta_kubernetes_pod_node_name": pod["spec"]["nodeName"],
                "__meta_kubernetes_pod_phase": pod["status"]["phase"],
                "__meta_kubernetes_pod_container_name": container["name"],
                "__meta_kubernetes_pod_container_port_name": port["name"],
                **{
                    f"__meta_kubernetes_pod_label_{re.sub('[^a-zA-Z0-9_]', '_', name)}": content
                    for name, content in pod["metadata"]["labels"].items()
                },
            },
        }
        for pod in pods
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    ]


@contextmanager
def running(folder: Path, pods: Sequence[Object]) -> Iterator[Prometheus]:
    """Start it with the shipped files, except for its discovery."""
    (folder / "pods.json").write_text(json.dumps(discovered(pods)))
    configuration = yaml.safe_load((PROMETHEUS / "scrape.yml").read_text())
    for job in configuration["scrape_configs"]:
        (discovery,) = job.pop("kubernetes_sd_configs")
        assert discovery["role"] == "pod"
        assert {pod["metadata"]["namespace"] for pod in pods} <= set(discovery["namespaces"]["names"])
        job["file_sd_configs"] = [{"files": [str(folder / "pods.json")]}]
    configuration["rule_files"] = [str(file) for file in RULES]
    configuration["global"] = {"evaluation_interval": "5s"}
    with prometheus_with(folder, configuration) as prometheus:
        yield prometheus


@contextmanager
def prometheus_with(folder: Path, configuration: Object) -> Iterator[Prometheus]:
    """Start it with that configuration and without a store of before."""
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield Prometheus(address)
        assert process.poll() is None, (folder / "prometheus.log").read_text()
    finally:
        process.kill()
        process.wait()


def test_shipped_configuration_finds_every_agent(installed: Agents, nodes: list[str], tmp_path: Path) -> None:
    """Every agent is one target with its node as `instance`; every pair has one series; no rule fails, none fires."""
    with running(tmp_path, installed.pods()) as prometheus:
        enough = f"min(count_over_time({LATENCY}[5m])) >= 2"
        wait(lambda: len(prometheus.query(LATENCY)) == len(ordered_pairs(nodes)), "not every pair is scraped", 90)
        wait(lambda: prometheus.query(enough), "there is no second scrape")
        up = {(each["metric"]["instance"], each["value"][1]) for each in prometheus.query("up")}
        assert up == {(node, "1") for node in nodes}
        series = [each["metric"] for each in prometheus.query(LATENCY)]
        assert {(each["from"], each["to"]) for each in series} == ordered_pairs(nodes)
        for each in series:
            assert each["instance"] == each["node"] == each["from"]
            assert (each["job"], each["namespace"], each["network"]) == ("monlat", installed.namespace, "host-network")
            assert "pod" not in each
        wait(lambda: min(rule["lastEvaluation"] for rule in prometheus.rules()) > "0002", "a rule was never evaluated")
        rules = prometheus.rules()
        assert rules
        assert [rule for rule in rules if rule["health"] != "ok"] == []
        assert prometheus.query('ALERTS{alertstate="firing"}') == []
