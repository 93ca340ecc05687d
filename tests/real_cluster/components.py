"""The components that no overlay has: they combine with each other and with the base."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.certificates import make_ca, make_certificate
from tests.manifest_files import COMPONENTS, MANIFESTS, OVERLAYS, Object
from tests.real_cluster.agents import LATENCY, NAMESPACE, Agents, ordered_pairs, wait
from tests.real_cluster.api import Api
from tests.real_cluster.collector import PATH, Collector
from tests.real_cluster.installing import Installer
from tests.real_cluster.scraped import prometheus_with

pytestmark = pytest.mark.timeout(600)

COMBINED = ("web-config", "openshift", "nodes-1000", "all-pairs", "grafana")
CAP_SYS_RESOURCE = 24  # linux/capability.h
CONSTRAINTS = "system:openshift:scc:privileged"
TLS = """
tls_server_config:
  cert_file: tls.crt
  key_file: tls.key
"""


def test_every_component_has_its_test() -> None:
    """A new component needs an overlay or a test here.

    nodes-5000 differs from nodes-1000 by its numbers alone. collector-monitor is one object of the Prometheus operator,
    which no cluster of these tests has.
    """
    of_overlays = {*OVERLAYS, "pod-monitor"}  # prometheus-operator has it
    assert of_overlays | {*COMBINED, "collector", "collector-monitor", "locked-memory", "nodes-5000"} == set(COMPONENTS)


@pytest.fixture
def web_config(empty: Installer, tmp_path: Path) -> None:
    """The two Secrets of docs/web-config.md, in the namespace of the agents."""
    certificate = make_certificate(tmp_path, make_ca(tmp_path), "tls", "DNS:monlat-agents,DNS:localhost")
    (tmp_path / "web-config.yml").write_text(TLS)
    files = {
        "monlat-web-config": {"web-config.yml": tmp_path / "web-config.yml"},
        "monlat-tls": {
            "tls.crt": certificate,
            "tls.key": certificate.with_suffix(".key"),
            "ca.crt": tmp_path / "ca.pem",
        },
    }
    empty.api.run("apply", "--filename", str(MANIFESTS / "base/namespace.yaml"))
    for secret, contents in files.items():
        from_files = [f"--from-file={key}={file}" for key, file in contents.items()]
        empty.api.run("create", "secret", "generic", secret, "--namespace", NAMESPACE, *from_files)


@pytest.fixture
def constraints(api: Api) -> Iterator[None]:
    """What OpenShift has and this cluster lacks: the right to use the constraints `privileged`, as a ClusterRole."""
    rule: Object = {
        "apiGroups": ["security.openshift.io"],
        "resources": ["securitycontextconstraints"],
        "resourceNames": ["privileged"],
        "verbs": ["use"],
    }
    role: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": CONSTRAINTS},
        "rules": [rule],
    }
    made = not api.exists(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{CONSTRAINTS}")
    if made:
        api.apply([role])
    yield
    if made:
        api.run("delete", "clusterrole", CONSTRAINTS)


def may_use_constraints(api: Api, namespace: str) -> bool:
    """Ask the authorizer. `kubectl auth can-i` takes no resource that the cluster lacks."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{NAMESPACE}:monlat-agent",
            "resourceAttributes": {
                "group": "security.openshift.io",
                "resource": "securitycontextconstraints",
                "name": "privileged",
                "verb": "use",
                "namespace": namespace,
            },
        },
    }
    answer = api.run("create", "--filename", "-", "--output", "json", stdin=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])


def measured(agents: Agents, nodes: list[str]) -> None:
    pairs = agents.wait_complete(nodes)
    assert {pair["source"] for pair in pairs.values()} == {"tracepoint"}


def test_every_pair_is_at_the_collectors_service_and_in_a_prometheus(
    empty: Installer, nodes: list[str], tmp_path: Path
) -> None:
    """Each ordered pair has a time there, and one in the query of the prototype's users."""
    measured(empty.apply(components=["collector"]), nodes)
    collector = Collector(empty.api)
    collector.wait()
    wait(lambda: collector.latencies().keys() == ordered_pairs(nodes), lambda: f"it has only {collector.latencies()}")
    assert all(0 < milliseconds < 1000 for milliseconds in collector.latencies().values())
    job = {
        "job_name": "collector",
        "scrape_interval": "5s",
        "metrics_path": f"{PATH}/metrics",
        "static_configs": [{"targets": [empty.api.address]}],
    }
    query = f"avg_over_time({LATENCY}[30s])"
    with prometheus_with(tmp_path, {"scrape_configs": [job]}) as prometheus:
        wait(lambda: len(prometheus.query(query)) == len(ordered_pairs(nodes)), "not every pair has an average")
        series = prometheus.query(query)
        assert {(each["metric"]["from"], each["metric"]["to"]) for each in series} == ordered_pairs(nodes)
        assert all(0 < float(each["value"][1]) < 1000 for each in series)


def test_tls_openshift_and_size_combine(
    empty: Installer, web_config: None, constraints: None, nodes: list[str]
) -> None:
    """The kubelet's probes and the command in the pod use HTTPS; the account may use OpenShift's constraints."""
    agents = Agents(empty.apply(components=COMBINED).api, scheme="https")
    measured(agents, nodes)
    done = agents.execute(nodes[0], "monlat", "peers")
    assert done.returncode == 0, done.stderr
    assert nodes[1] in done.stdout
    with pytest.raises(OSError, match="400"):
        Agents(agents.api).metrics(nodes[0])
    dashboards = agents.api.run("get", "configmap", "monlat-dashboards", "--namespace", NAMESPACE, "--output", "json")
    assert {json.loads(text)["uid"] for text in json.loads(dashboards)["data"].values()} >= {"monlat-cluster"}
    assert may_use_constraints(agents.api, NAMESPACE)
    assert not may_use_constraints(agents.api, "default")
    spec = agents.by_node()[nodes[0]]["spec"]
    assert spec["securityContext"]["seLinuxOptions"] == {"type": "spc_t"}
    assert spec["containers"][0]["resources"]["requests"] == {"cpu": "80m", "memory": "112Mi"}


def status_in(agents: Agents, node: str, process: str) -> dict[str, str]:
    """Return /proc/PROCESS/status as a program in the agent's container on a node reads it."""
    done = agents.execute(node, "python3", "-c", f"print(open('/proc/{process}/status').read())")
    assert done.returncode == 0, done.stderr
    return dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)


def can_nodes_give_sys_resource(installer: Installer, node: str) -> bool:
    """Return whether a privileged container, which gets all that its node has, gets the capability."""
    agents = installer.apply(components=["privileged"])
    bounding = int(status_in(agents, node, "self")["CapBnd"], 16)
    installer.remove()
    return bool(bounding >> CAP_SYS_RESOURCE & 1)


def test_locked_memory(empty: Installer, nodes: list[str]) -> None:
    """The agents start as root with CAP_SYS_RESOURCE, and go on as a root without any capability.

    On a machine that lacks the capability itself, as some sandboxes do, the runtime gets as far as giving it.
    """
    if not can_nodes_give_sys_resource(empty, nodes[0]):
        empty.api.run("apply", "--kustomize", empty.kustomization("base", ["locked-memory"]))
        events = ("get", "events", "--namespace", NAMESPACE)
        wait(lambda: "can't apply capabilities: operation not permitted" in empty.api.run(*events), "no other answer")
        return
    agents = empty.apply(components=["locked-memory"])
    measured(agents, nodes)
    status = status_in(agents, nodes[0], "1")
    assert status["Uid"].split() == ["0"] * 4
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
