"""The components of manifests/components: what each changes, that they combine, and that any namespace will do."""

from __future__ import annotations

from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest

from monlat_ebpf.collector.config import DEFAULT_PORT as COLLECTOR_PORT
from tests.cluster.rendering import Kustomize
from tests.manifest_files import COMPONENTS, OPERATOR_KINDS, Object, agent_of, of_kind, pod_of

NEWEST = kubernetes_validate.utils.all_versions()[-1]
ALTERNATIVES = (
    ("nodes-1000", "nodes-5000"),
    ("privileged", "localhost-seccomp"),
    ("privileged", "locked-memory"),
    ("pod-monitor", "prometheus-operator"),
)
"""Components that set the same field."""

MONITORS = ("pod-monitor", "prometheus-operator")
BEFORE_WEB_CONFIG = (*MONITORS, "collector")
"""web-config comes after these, because it changes their PodMonitor and their Deployment."""

SECOND_OF_THEIR_KIND = ("monlat-agent-scc", "monlat")
"""Objects whose kind the base has, too: a RoleBinding, and the collector's Service."""

Fields = dict[tuple[str, ...], Any]


def fields_of(objects: list[Object]) -> Fields:
    """Return each scalar under its path. Its first part is the kind, with the name of a second one of that kind."""
    found: Fields = {}

    def visit(path: tuple[str, ...], value: Any) -> None:
        if isinstance(value, dict):
            for key, child in value.items():
                visit((*path, str(key)), child)
        elif isinstance(value, list):
            for index, child in enumerate(value):
                visit((*path, str(child.get("name", index)) if isinstance(child, dict) else str(index)), child)
        else:
            found[path] = value

    for entry in objects:
        name = entry["metadata"]["name"]
        is_second = name in SECOND_OF_THEIR_KIND and entry["kind"] in ("RoleBinding", "Service")
        visit((f"{entry['kind']} {name}" if is_second else entry["kind"],), entry)
    return found


def changes(before: Fields, after: Fields) -> Fields:
    """Return what `after` sets differently, with None for what it lacks."""
    return {path: after.get(path) for path in before | after if before.get(path) != after.get(path)}


def without_metadata(fields: Fields) -> Fields:
    """Leave out what follows the agents' namespace and instance in objects that the base has not."""
    added = OPERATOR_KINDS | {"RoleBinding monlat-agent-scc", "Deployment", "Service monlat", "ConfigMap"}
    return {
        path: value
        for path, value in fields.items()
        if path[0] not in added
        or (path[1] != "metadata" and path[-1] not in ("namespace", "app.kubernetes.io/instance"))
    }


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("left_out", [0, 1])
def test_components_together_change_what_each_changes_alone(left_out: int, order: int, kustomize: Kustomize) -> None:
    """Of alternatives one, in either order: nothing more, nothing less, and the schema accepts the result."""
    excluded = {pair[left_out] for pair in ALTERNATIVES}
    combined = [name for name in COMPONENTS if name not in excluded][::order]
    combined.sort(key=lambda name: name == "web-config")
    assert len(combined) == len(COMPONENTS) - len(excluded)
    base = fields_of(kustomize.objects())
    expected: Fields = {}
    earlier = [name for name in combined if name in BEFORE_WEB_CONFIG]
    for name in combined:
        before = earlier if name == "web-config" else []
        alone = changes(fields_of(kustomize.objects(before)), fields_of(kustomize.objects([*before, name])))
        assert alone, f"{name} changes nothing"
        expected |= alone
    objects = kustomize.objects(combined)
    assert without_metadata(changes(base, fields_of(objects))) == without_metadata(expected)
    for entry in objects:
        if entry["kind"] not in OPERATOR_KINDS:
            kubernetes_validate.validate(entry, NEWEST, strict=True)


@pytest.mark.parametrize("namespace", ["monlat", "observability"])
def test_all_components_follow_one_namespace(namespace: str, kustomize: Kustomize) -> None:
    """Every object is in the namespace of the user's kustomization, and none names another."""
    objects = kustomize.objects([name for name in COMPONENTS if name != "pod-monitor"], namespace)
    assert of_kind(objects, "Namespace")["metadata"]["name"] == namespace
    for entry in objects:
        if entry["kind"] not in {"Namespace", "PriorityClass"}:  # these have none
            assert entry["metadata"]["namespace"] == namespace, entry["kind"]
    for entry in objects:
        if entry["kind"] == "RoleBinding":
            assert [subject["namespace"] for subject in entry["subjects"]] == [namespace]
    assert "namespaceSelector" not in of_kind(objects, "PodMonitor")["spec"]  # its own namespace


@pytest.mark.parametrize(
    ("components", "namespace"),
    [
        (["prometheus-operator"], "monlat"),
        (["pod-network", "prometheus-operator"], "monlat-pod-network"),
        (["prometheus-operator", "pod-network"], "monlat-pod-network"),
    ],
)
def test_operator_objects_are_where_the_agents_are(components: list[str], namespace: str, kustomize: Kustomize) -> None:
    """Without a namespace of their own, kubectl would create them in the current one."""
    objects = kustomize.objects(components)
    for kind in ("DaemonSet", "PodMonitor", "PrometheusRule"):
        assert of_kind(objects, kind)["metadata"]["namespace"] == namespace


@pytest.mark.parametrize("order", [1, -1])
def test_collector_is_where_the_agents_are(order: int, kustomize: Kustomize) -> None:
    """In their namespace, with their account, image and instance, and its Service finds it and no agent."""
    objects = kustomize.objects(["pod-network", "collector"][::order])
    collector, agents = of_kind(objects, "Deployment"), of_kind(objects, "DaemonSet")
    (service,) = (entry for entry in objects if entry["kind"] == "Service" and entry["metadata"]["name"] == "monlat")
    for entry in (collector, service):
        assert entry["metadata"]["namespace"] == agents["metadata"]["namespace"] == "monlat-pod-network"
    pod, labels = collector["spec"]["template"]["spec"], collector["spec"]["template"]["metadata"]["labels"]
    assert pod["serviceAccountName"] == pod_of(objects)["serviceAccountName"]
    assert pod["containers"][0]["image"] == agent_of(objects)["image"]
    assert labels["app.kubernetes.io/instance"] == "pod-network"
    assert service["spec"]["selector"].items() <= labels.items()
    assert collector["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert not service["spec"]["selector"].items() <= agents["spec"]["template"]["metadata"]["labels"].items()
    assert not agents["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert [port["port"] for port in service["spec"]["ports"]] == [COLLECTOR_PORT]
    assert [port["containerPort"] for port in pod["containers"][0]["ports"]] == [COLLECTOR_PORT]


def test_collector_asks_agents_with_tls_over_https(kustomize: Kustomize) -> None:
    """With the CA of their Secret; its own pod has no capability and no port of the host."""
    objects = kustomize.objects(["collector", "web-config"])
    pod = of_kind(objects, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {entry["name"]: entry["value"] for entry in container["env"]} == {
        "MONLAT_AGENT_SCHEME": "https",
        "MONLAT_CA": "/etc/monlat/agents/ca.crt",
    }
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/etc/monlat/agents")
    assert volume["secret"] == {"secretName": "monlat-tls", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "hostNetwork" not in pod


@pytest.mark.parametrize("order", [1, -1])
def test_privileged_and_localhost_seccomp_make_a_valid_profile(order: int, kustomize: Kustomize) -> None:
    """The later one wins; an Unconfined profile with the name of a file would be refused."""
    objects = kustomize.objects(["privileged", "localhost-seccomp"][::order])
    expected = {1: {"type": "Localhost", "localhostProfile": "monlat.json"}, -1: {"type": "Unconfined"}}
    assert pod_of(objects)["securityContext"]["seccompProfile"] == expected[order]


def test_web_config_mounts_what_the_agent_reads(kustomize: Kustomize) -> None:
    """The file is where the setting says, its group is the agent's, and all probes and Prometheus use HTTPS."""
    objects = kustomize.objects(["pod-monitor", "web-config"])
    agent, pod = agent_of(objects), pod_of(objects)
    settings = {entry["name"]: entry.get("value") for entry in agent["env"]}
    (mount,) = (each for each in agent["volumeMounts"] if each["name"] == "web-config")
    assert settings["MONLAT_WEB_CONFIG"] == f"{mount['mountPath']}/web-config.yml"
    assert settings["MONLAT_CA"] == f"{mount['mountPath']}/ca.crt"
    (volume,) = (each for each in pod["volumes"] if each["name"] == "web-config")
    assert volume["projected"]["defaultMode"] == 0o440
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert agent[probe]["httpGet"]["scheme"] == "HTTPS"
    (scraped,) = of_kind(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert scraped["scheme"] == "https"
    assert scraped["tlsConfig"]["ca"]["secret"] == {"name": "monlat-tls", "key": "ca.crt"}


def test_openshift_adds_a_type_and_a_role_binding(kustomize: Kustomize) -> None:
    """The agent keeps its user, its capabilities and its seccomp profile."""
    changed = changes(fields_of(kustomize.objects()), fields_of(kustomize.objects(["openshift"])))
    bound = {path: value for path, value in changed.items() if path[0] == "RoleBinding monlat-agent-scc"}
    assert {path: value for path, value in changed.items() if path not in bound} == {
        ("DaemonSet", "spec", "template", "spec", "securityContext", "seLinuxOptions", "type"): "spc_t"
    }
    assert bound["RoleBinding monlat-agent-scc", "roleRef", "name"] == "system:openshift:scc:privileged"


def test_selected_nodes_asks_for_a_label(kustomize: Kustomize) -> None:
    """Every other field is the base's."""
    changed = changes(fields_of(kustomize.objects()), fields_of(kustomize.objects(["selected-nodes"])))
    assert changed == {("DaemonSet", "spec", "template", "spec", "nodeSelector", "monlat/agent"): "true"}


def test_virtual_nodes_get_no_agent(kustomize: Kustomize) -> None:
    """They tolerate nothing less than a real node, so only the affinity keeps agents away."""
    required = pod_of(kustomize.objects())["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = required["nodeSelectorTerms"]
    real = {"kubernetes.io/os": "linux"}
    virtual = [{"type": "virtual-kubelet"}, {"eks.amazonaws.com/compute-type": "fargate"}, {"type": "kwok"}]

    def admitted(labels: dict[str, str]) -> bool:
        assert {one["operator"] for one in term["matchExpressions"]} == {"NotIn"}
        return all(labels.get(one["key"]) not in one["values"] for one in term["matchExpressions"])

    assert admitted(real)
    assert [admitted(real | labels) for labels in virtual] == [False] * len(virtual)


def test_second_installation_shares_no_object_with_the_first(kustomize: Kustomize) -> None:
    """Not even with the operator's objects in both."""

    def names(objects: list[Object]) -> set[tuple[str, str, str]]:
        metas = [(entry["kind"], entry["metadata"]) for entry in objects]
        return {(kind, meta.get("namespace", ""), meta["name"]) for kind, meta in metas}

    first, second = kustomize.objects(["prometheus-operator"]), kustomize.objects(["pod-network", "pod-monitor"])
    assert not names(first) & names(second)
    assert agent_of(first)["ports"] == agent_of(second)["ports"]
