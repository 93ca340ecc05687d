"""The Helm chart: equal to kustomize where its values say the same, and strict about its values."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from tests.cluster.rendering import CHART, Helm, Kustomize
from tests.manifest_files import ROOT, Object, agent_of, of_kind, pod_of

NAMESPACE = {"namespace": {"name": "monlat", "create": True}}
OTHER_NAMESPACE = {"namespace": {"name": "monlat-pod-network", "create": True}}
OPERATOR = {"podMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
DASHBOARDS = {"grafana": {"dashboards": {"enabled": True}}}
EVERYTHING = {
    "network": "pod-network",
    "nodes": 5000,
    "probeNeighbours": "all",
    "selectedNodes": True,
    "security": {"privileged": True, "openshift": True},
    "webConfig": {"enabled": True},
    "collector": {"enabled": True},
    **OPERATOR,
    **DASHBOARDS,
}

KUBERNETES_OWN = {".affinity", ".resources", ".collector.resources", ".podMonitor.endpoint"}
"""Values whose keys Kubernetes or the Prometheus operator defines."""

SAME: list[tuple[list[str], Object]] = [
    ([], NAMESPACE),
    (["privileged"], NAMESPACE | {"security": {"privileged": True}}),
    (["localhost-seccomp"], NAMESPACE | {"security": {"localhostSeccomp": True}}),
    (["selected-nodes"], NAMESPACE | {"selectedNodes": True}),
    (["nodes-1000"], NAMESPACE | {"nodes": 1000}),
    (["all-pairs"], NAMESPACE | {"probeNeighbours": "all"}),
    (["pod-monitor"], NAMESPACE | {"podMonitor": {"enabled": True}}),
    (["locked-memory"], NAMESPACE | {"security": {"lockedMemory": True}}),
    (["openshift"], NAMESPACE | {"security": {"openshift": True}}),
    (["web-config"], NAMESPACE | {"webConfig": {"enabled": True}}),
    (["collector"], NAMESPACE | {"collector": {"enabled": True}}),
    (
        ["collector", "pod-monitor", "collector-monitor"],
        NAMESPACE | {"collector": {"enabled": True}, "podMonitor": {"enabled": True}},
    ),
    (["grafana"], NAMESPACE | DASHBOARDS),
    (["collector", "web-config"], NAMESPACE | {"collector": {"enabled": True}, "webConfig": {"enabled": True}}),
    (["pod-monitor", "web-config"], NAMESPACE | {"podMonitor": {"enabled": True}, "webConfig": {"enabled": True}}),
    (
        [
            *("pod-network", "nodes-5000", "all-pairs", "selected-nodes", "privileged", "openshift"),
            *("prometheus-operator", "collector", "collector-monitor", "grafana", "web-config"),
        ],
        OTHER_NAMESPACE | EVERYTHING,
    ),
]
"""Components, and the values that say the same."""


def by_kind(objects: list[Object]) -> dict[tuple[str, str], Object]:
    return {(entry["kind"], entry["metadata"]["name"]): entry for entry in objects}


@pytest.mark.parametrize(("components", "values"), SAME, ids=lambda value: "+".join(value) or "base")
def test_chart_makes_the_objects_of_kustomize(
    components: list[str], values: Object, chart: Helm, kustomize: Kustomize
) -> None:
    """Whole objects, in no order."""
    ours, theirs = by_kind(chart.objects(values)), by_kind(kustomize.objects(components))
    assert ours.keys() == theirs.keys()
    for kind, entry in theirs.items():
        assert ours[kind] == entry


def test_release_namespace_is_the_default(chart: Helm) -> None:
    """Helm wants it to exist, so the chart then makes none."""
    objects = chart.objects({}, "--namespace", "observability")
    assert "Namespace" not in {entry["kind"] for entry in objects}
    assert {entry["metadata"].get("namespace") for entry in objects} == {"observability", None}
    assert of_kind(objects, "RoleBinding")["subjects"][0]["namespace"] == "observability"


@pytest.mark.parametrize(("value", "variables"), [("auto", []), (2, ["2"]), (128, ["128"])])
def test_number_of_probed_nodes_is_the_agents_setting(value: object, variables: list[str], chart: Helm) -> None:
    """A number is text in a variable. The default leaves the variable to `extraEnv`."""
    environment = agent_of(chart.objects({"probeNeighbours": value}))["env"]
    assert [each["value"] for each in environment if each["name"] == "MONLAT_PROBE_NEIGHBOURS"] == variables


@pytest.mark.parametrize("network", ["host-network", "pod-network"])
def test_test_pod_runs_where_an_agent_runs_and_is_none(network: str, chart: Helm) -> None:
    """`helm test` asks the agent on its own node, or one by the Service. No selector of the agents matches it."""
    done = chart.run(
        "template", {"network": network, "selectedNodes": True}, "--show-only", "templates/tests/peers.yaml"
    )
    assert done.returncode == 0, done.stderr
    pod = yaml.safe_load(done.stdout)
    agents = chart.objects({"network": network, "selectedNodes": True})
    kubernetes_validate.validate(pod, kubernetes_validate.utils.all_versions()[-1], strict=True)
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    for field in ("nodeSelector", "affinity", "tolerations"):
        assert pod["spec"][field] == pod_of(agents)[field]
    assert not of_kind(agents, "Service")["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    service = ["--url", "http://monlat-agents.default.svc:10045"]
    assert container["args"] == ["peers", *(service if network == "pod-network" else [])]
    assert pod["spec"]["hostNetwork"] is (network == "host-network")


@pytest.mark.parametrize("network", ["host-network", "pod-network"])
def test_test_pod_asks_over_https_where_the_agents_speak_it(network: str, chart: Helm) -> None:
    """With the CA of the Secret, and under a name that the certificate has."""
    values = {"network": network, "webConfig": {"enabled": True}}
    done = chart.run("template", values, "--show-only", "templates/tests/peers.yaml")
    assert done.returncode == 0, done.stderr
    pod = yaml.safe_load(done.stdout)
    kubernetes_validate.validate(pod, kubernetes_validate.utils.all_versions()[-1], strict=True)
    (container,) = pod["spec"]["containers"]
    settings = {entry["name"]: entry["value"] for entry in container["env"]}
    assert settings == {"MONLAT_URL": "https://localhost:10045", "MONLAT_CA": "/etc/monlat/web/ca.crt"}
    service = ["--url", "https://monlat-agents.default.svc:10045"]
    assert container["args"] == ["peers", *(service if network == "pod-network" else [])]
    (mount,), (volume,) = container["volumeMounts"], pod["spec"]["volumes"]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], "/etc/monlat/web")
    assert volume["secret"] == {"secretName": "monlat-tls", "items": [{"key": "ca.crt", "path": "ca.crt"}]}


def test_web_config_without_tls_keeps_http(chart: Helm) -> None:
    """Passwords alone: the probes, the annotations and the PodMonitor stay with HTTP, and one Secret is mounted."""
    web = {"enabled": True, "tls": {"enabled": False}}
    endpoint = {"basicAuth": {"username": {"name": "scraper", "key": "user"}}}
    objects = chart.objects({"webConfig": web, "podMonitor": {"enabled": True, "endpoint": endpoint}})
    agent = agent_of(objects)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert "scheme" not in agent[probe]["httpGet"]
    assert [entry["name"] for entry in agent["env"]] == ["MONLAT_WEB_CONFIG", "MONLAT_NODE_NAME"]
    assert pod_of(objects)["volumes"][0]["projected"]["sources"] == [{"secret": {"name": "monlat-web-config"}}]
    (scraped,) = of_kind(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert scraped["basicAuth"] == endpoint["basicAuth"]
    assert not {"scheme", "tlsConfig"} & scraped.keys()


def test_choice_of_metrics_becomes_settings_of_the_agent(chart: Helm) -> None:
    """A default is left to the agent; another value is in its environment, which the agent's own parser accepts."""
    default = {entry["name"] for entry in agent_of(chart.objects({}))["env"]}
    assert not {"MONLAT_HISTOGRAMS", "MONLAT_DETAIL", "MONLAT_WORST"} & default
    chosen = chart.objects({"metrics": {"histograms": "rtt,dwell", "detail": "zone", "worst": 20}})
    settings = {entry["name"]: entry.get("value") for entry in agent_of(chosen)["env"]}
    assert (settings["MONLAT_HISTOGRAMS"], settings["MONLAT_DETAIL"], settings["MONLAT_WORST"]) == (
        "rtt,dwell",
        "zone",
        "20",
    )


def test_native_histograms_are_one_value(chart: Helm) -> None:
    """Off by default: an operator before 0.88 does not know the field."""
    for enabled in (False, True):
        objects = chart.objects({"podMonitor": {"enabled": True, "nativeHistograms": enabled}})
        assert of_kind(objects, "PodMonitor")["spec"].get("scrapeNativeHistograms", False) is enabled


def test_dashboards_have_the_labels_and_the_folder_of_the_users_grafana(chart: Helm) -> None:
    """A sidecar selects by another label, and sorts into another folder; the labels also select the monitors."""
    grafana = {
        "dashboards": {"enabled": True, "labels": {"team": "network"}, "annotations": {"grafana_folder": "Nodes"}}
    }
    monitors = {"enabled": True, "labels": {"release": "stack"}}
    objects = chart.objects({"grafana": grafana, "podMonitor": monitors, "collector": {"enabled": True}})
    about = of_kind(objects, "ConfigMap")["metadata"]
    assert about["labels"] == {"app.kubernetes.io/name": "monlat", "grafana_dashboard": "1", "team": "network"}
    assert about["annotations"] == {"grafana_folder": "Nodes"}
    for kind in ("PodMonitor", "ServiceMonitor"):
        assert of_kind(objects, kind)["metadata"]["labels"]["release"] == "stack"


@pytest.mark.parametrize("values", [{}, EVERYTHING])
def test_helm_lint_accepts_the_chart(values: Object, chart: Helm) -> None:
    """With its own values and with every switch on; a warning is an error."""
    done = chart.run("lint", values, "--strict")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"privileged": True}, "privileged"),
        ({"security": {"priviledged": True}}, "priviledged"),
        ({"network": "pod"}, "network"),
        ({"nodes": 5001}, "nodes"),
        ({"nodes": "many"}, "nodes"),
        ({"probeNeighbours": "some"}, "probeNeighbours"),
        ({"probeNeighbours": 3}, "probeNeighbours"),
        ({"probeNeighbours": 130}, "probeNeighbours"),
        ({"maxUnavailable": 0}, "maxUnavailable"),
        ({"namespace": {"create": True}}, "namespace"),
        ({"image": {"repository": ""}}, "repository"),
        ({"extraEnv": [{"value": "1"}]}, "extraEnv"),
        ({"metrics": {"detail": "node"}}, "detail"),
        ({"metrics": {"histograms": "rtt, dwell"}}, "histograms"),
        ({"grafana": {"dashboards": {"label": {}}}}, "label"),
        ({"grafana": {"dashboards": {"labels": {"grafana_dashboard": 1}}}}, "grafana_dashboard"),
    ],
    ids=str,
)
def test_schema_refuses_a_wrong_value_by_name(values: Object, named: str, chart: Helm) -> None:
    """A misspelt value never passes for a default."""
    done = chart.run("template", values)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
    assert named in done.stderr


def test_schema_knows_every_value() -> None:
    """Each key of values.yaml is in the schema, at every level that the schema closes."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())

    def unknown(values: Any, part: Object, path: str) -> list[str]:
        part = schema["definitions"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part
        if path in KUBERNETES_OWN or part.get("additionalProperties", True) is not False:
            return []
        missing = [f"{path}.{key}" for key in values.keys() ^ part["properties"].keys() if key != "global"]
        known = values.keys() & part["properties"].keys()
        return missing + [
            name for key in known for name in unknown(values[key], part["properties"][key], f"{path}.{key}")
        ]

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert unknown(values, schema, "") == []


def test_version_is_the_projects() -> None:
    """appVersion, by which the image is tagged, is pyproject.toml's; version is the same as Helm's semantic version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["appVersion"] == version
    assert about["version"] == re.sub(r"\.dev", "-dev", version)


@pytest.mark.parametrize(("repository", "said"), [("monlat", True), ("registry.example/monlat", False)])
def test_notes_say_to_build_and_push_first(repository: str, said: bool, chart: Helm) -> None:
    """Where the image has no registry in its name."""
    values = {"image": {"repository": repository}}
    done = chart.run("install", values, "--dry-run=client", "--namespace", "monlat")
    assert done.returncode == 0, done.stderr
    assert ("Build and push it first" in done.stdout) is said
