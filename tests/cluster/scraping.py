"""The labels that Prometheus gives to an agent, in each of three ways of scraping, from the shipped configuration."""

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


@cache
def target_labels(way: str, node: str, generation: int) -> Labels:
    """Return the labels of the target that is the agent on `node`; `generation` counts the rollouts before its pod."""
    return relabel(_discovered(way, node, generation), _configuration(way))


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
    named = {f"__meta_kubernetes_{re.sub('[^a-zA-Z0-9_]', '_', name)}": value for name, value in meta.items()}
    return {"__address__": f"192.0.2.{node.lstrip('n')}:10045", "job": job, **named}


@cache
def _configuration(way: str) -> list[dict[str, Any]]:
    if way == ANNOTATIONS:
        return _EXAMPLE
    if way == SCRAPE_YML:
        (job,) = yaml.safe_load((MANIFESTS / "prometheus" / "scrape.yml").read_text())["scrape_configs"]
        return list(job["relabel_configs"])
    (file,) = MANIFESTS.glob("*/*/podmonitor.yaml")
    (endpoint,) = yaml.safe_load(file.read_text())["spec"]["podMetricsEndpoints"]
    own = [{_snake(key): value for key, value in rule.items()} for rule in endpoint["relabelings"]]
    return [*_OPERATOR, *own]


def _snake(key: str) -> str:
    return re.sub("([A-Z])", lambda match: "_" + match[1].lower(), key)
