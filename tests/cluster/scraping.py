"""The labels that Prometheus gives to an agent and to the collector, in each of three ways of scraping.

They follow from the shipped configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import yaml

from tests.manifest_files import MANIFESTS, objects_in, of_kind

Labels = dict[str, str]

ANNOTATIONS: Final = "annotations"
SCRAPE_YML: Final = "scrape.yml"
POD_MONITOR: Final = "PodMonitor"
WAYS: Final = (ANNOTATIONS, SCRAPE_YML, POD_MONITOR)

_EXAMPLE: Final[list[dict[str, Any]]] = [
    {"source_labels": ["__meta_kubernetes_pod_annotation_prometheus_io_scrape"], "action": "keep", "regex": "true"},
    {"action": "labelmap", "regex": "__meta_kubernetes_pod_label_(.+)"},
    {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
    {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
    {"source_labels": ["__meta_kubernetes_pod_node_name"], "target_label": "node"},
]
"""What matters here of the job `kubernetes-pods` in Prometheus' Helm chart, for clusters that scrape by annotations."""

_OPERATOR: Final[list[dict[str, Any]]] = [
    {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)", "action": "drop"},
    {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
    {"source_labels": ["__meta_kubernetes_pod_container_name"], "target_label": "container"},
    {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
    {"target_label": "job", "replacement": "monitoring/monlat-agent"},
    {"source_labels": ["__meta_kubernetes_pod_label_app_kubernetes_io_name"], "regex": "(.+)", "target_label": "job"},
    {"target_label": "endpoint", "replacement": "metrics"},
]
"""What the operator puts before a PodMonitor's own relabelings."""

_OPERATOR_SERVICE: Final[list[dict[str, Any]]] = [
    {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
    {"source_labels": ["__meta_kubernetes_service_name"], "target_label": "service"},
    {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
    {"source_labels": ["__meta_kubernetes_pod_container_name"], "target_label": "container"},
    {"source_labels": ["__meta_kubernetes_service_name"], "target_label": "job"},
    {"target_label": "endpoint", "replacement": "http"},
]
"""What it puts before a ServiceMonitor's."""


@cache
def target_labels(way: str, node: str, generation: int) -> Labels:
    """Return the labels of the target that is the agent on `node`; `generation` counts the rollouts before its pod."""
    return relabel(_discovered(way, node, generation), _configuration(way))


@cache
def collector_labels(way: str) -> Labels:
    """Return the labels of the target that is the collector. For annotations, the user has added them to its pod."""
    text = (MANIFESTS / "components/collector/deployment.yaml").read_text()
    template = of_kind(objects_in(text), "Deployment")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    labels = template["metadata"]["labels"] | {
        "app.kubernetes.io/instance": "host-network",
        "pod-template-hash": "ab12",
    }
    meta = {
        "namespace": "monlat",
        "service_name": "monlat",
        "pod_name": "monlat-ab12-xyz",
        "pod_node_name": "n2",
        "pod_phase": "Running",
        "pod_container_name": container["name"],
        "pod_container_port_name": container["ports"][0]["name"],
        "pod_annotation_prometheus_io_scrape": "true",
        **{f"pod_label_{name}": value for name, value in labels.items()},
    }
    if way == ANNOTATIONS:
        job, configuration = "kubernetes-pods", _EXAMPLE
    elif way == SCRAPE_YML:
        job, configuration = "monlat-collector", _shipped_job("monlat-collector")
    else:
        monitor = yaml.safe_load((MANIFESTS / "components/collector-monitor/servicemonitor.yaml").read_text())
        (endpoint,) = monitor["spec"]["endpoints"]
        job, configuration = "serviceMonitor/monlat/monlat-collector/0", [*_OPERATOR_SERVICE, *_own(endpoint)]
    return relabel({"__address__": "192.0.2.99:9090", "job": job, **_meta(meta)}, configuration)


def relabel(discovered: Labels, configuration: Sequence[Mapping[str, Any]]) -> Labels:
    """Do what Prometheus does with `relabel_configs`. The actions are those that occur here."""
    labels = dict(discovered)
    for rule in configuration:
        value = ";".join(labels.get(name, "") for name in rule.get("source_labels", ()))
        pattern = re.compile(rule.get("regex", "(.*)"), re.DOTALL)
        match = pattern.fullmatch(value)
        action = rule.get("action", "replace")
        if action == "keep":
            assert match, f"not kept: {rule}"
        elif action == "drop":
            assert not match, f"dropped: {rule}"
        elif action == "labelmap":
            found = [(pattern.fullmatch(name), content) for name, content in labels.items()]
            labels |= {name[1]: content for name, content in found if name}
        elif action == "labeldrop":
            labels = {name: content for name, content in labels.items() if not pattern.fullmatch(name)}
        else:
            assert action == "replace", f"unknown action: {rule}"
            if match:
                labels[rule["target_label"]] = match.expand(rule.get("replacement", "$1").replace("$", "\\"))
    labels.setdefault("instance", labels["__address__"])
    return {name: content for name, content in labels.items() if content and not name.startswith("__")}


@cache
def _template() -> Any:
    """Return the template of the agent's pod."""
    return of_kind(objects_in((MANIFESTS / "monlat.yaml").read_text()), "DaemonSet")["spec"]["template"]


def _discovered(way: str, node: str, generation: int) -> Labels:
    """Return what Kubernetes discovery says of the agent's pod."""
    template = _template()
    labels = {
        **template["metadata"]["labels"],
        "controller-revision-hash": f"hash{generation}",
        "pod-template-generation": str(generation),
    }
    meta = {
        "namespace": "monlat",
        "pod_name": f"monlat-agent-{node}-{generation}",
        "pod_node_name": node,
        "pod_phase": "Running",
        "pod_container_name": template["spec"]["containers"][0]["name"],
        "pod_container_port_name": template["spec"]["containers"][0]["ports"][0]["name"],
        **{f"pod_label_{name}": value for name, value in labels.items()},
        **{f"pod_annotation_{name}": value for name, value in template["metadata"]["annotations"].items()},
    }
    job = {ANNOTATIONS: "kubernetes-pods", SCRAPE_YML: "monlat", POD_MONITOR: "podMonitor/monlat/monlat-agent/0"}[way]
    return {"__address__": f"192.0.2.{node.lstrip('n')}:10045", "job": job, **_meta(meta)}


def _meta(values: Mapping[str, str]) -> Labels:
    return {f"__meta_kubernetes_{re.sub('[^a-zA-Z0-9_]', '_', name)}": value for name, value in values.items()}


@cache
def _configuration(way: str) -> list[dict[str, Any]]:
    if way == ANNOTATIONS:
        return _EXAMPLE
    if way == SCRAPE_YML:
        return _shipped_job("monlat")
    (endpoint,) = yaml.safe_load((MANIFESTS / "components/pod-monitor/podmonitor.yaml").read_text())["spec"][
        "podMetricsEndpoints"
    ]
    return [*_OPERATOR, *_own(endpoint)]


def _shipped_job(name: str) -> list[dict[str, Any]]:
    jobs = yaml.safe_load((MANIFESTS / "prometheus" / "scrape.yml").read_text())["scrape_configs"]
    (job,) = (each for each in jobs if each["job_name"] == name)
    return list(job["relabel_configs"])


def _own(endpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the relabelings of a monitor's endpoint, written as in Prometheus' configuration."""
    return [{_snake(key): value for key, value in rule.items()} for rule in endpoint["relabelings"]]


def _snake(key: str) -> str:
    return re.sub("([A-Z])", lambda match: "_" + match[1].lower(), key)
