"""scripts/kubectl-monlat with the real kubectl. A small server imitates the API server's lists; no pod runs anything.

What `kubectl exec` would run is written down instead of being run. tests/real_cluster/plugin.py runs it.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.manifest_files import ROOT, Object, objects_in, of_kind

PLUGIN = ROOT / "scripts/kubectl-monlat"
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
CRASHED = {"waiting": {"reason": "CrashLoopBackOff"}}


def agent_labels() -> dict[str, str]:
    """The labels of the agents' pods in the manifests."""
    daemon_set = of_kind(objects_in((ROOT / "manifests/monlat.yaml").read_text()), "DaemonSet")
    labels: dict[str, str] = daemon_set["spec"]["template"]["metadata"]["labels"]
    return labels


def pod(name: str, node: str, state: Object = RUNNING, *, created: str = "2026-01-01T00:00:00Z") -> Object:
    return {
        "metadata": {"name": name, "creationTimestamp": created, "labels": agent_labels()},
        "spec": {"nodeName": node},
        "status": {"phase": "Running", "containerStatuses": [{"name": "agent", "state": state}]},
    }


def collector_pod(name: str, state: Object = RUNNING, *, created: str = "2026-01-01T00:00:00Z") -> Object:
    """A pod as the Deployment of the component makes it."""
    (deployment,) = objects_in((ROOT / "manifests/components/collector/deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": created,
            "labels": deployment["spec"]["template"]["metadata"]["labels"],
        },
        "spec": {"nodeName": "node2"},
        "status": {"phase": "Running", "containerStatuses": [{"name": container["name"], "state": state}]},
    }


class Server:
    """Lists pods by label and node, and knows which nodes and namespaces exist."""

    def __init__(self) -> None:
        self.namespaces: dict[str, list[Object]] = {"monlat": [pod("a-1", "node1"), pod("a-2", "node2")]}
        self.nodes = {"node1", "node2", "node3"}

    def answer(self, address: str) -> Object | None:
        path, query = urlsplit(address).path, parse_qs(urlsplit(address).query)
        match path.strip("/").split("/"):
            case ["api", "v1", "namespaces", namespace, "pods"]:
                return {"items": [each for each in self.namespaces.get(namespace, []) if self._matches(each, query)]}
            case ["api", "v1", "namespaces", namespace] if namespace in self.namespaces:
                return {"kind": "Namespace"}
            case ["api", "v1", "nodes", node] if node in self.nodes:
                return {"kind": "Node"}
        return None

    def _matches(self, each: Object, query: dict[str, list[str]]) -> bool:
        wanted = dict(part.split("=") for part in query["labelSelector"][0].split(","))
        fields = dict(part.split("=") for text in query.get("fieldSelector", ()) for part in text.split(","))
        if fields.get("spec.nodeName", each["spec"]["nodeName"]) != each["spec"]["nodeName"]:
            return False
        labels: dict[str, str] = each["metadata"]["labels"]
        return wanted.items() <= labels.items()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def kubeconfig(server: Server, tmp_path: Path) -> Iterator[Path]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = server.answer(self.path)
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            body = json.dumps(missing if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{http.server_port}"}}],
            "users": [{"name": "it", "user": {}}],
        }
        (tmp_path / "config").write_text(json.dumps(configuration))
        yield tmp_path / "config"
        http.shutdown()
        thread.join()


@pytest.fixture
def programs(kubectl: str, tmp_path: Path) -> Path:
    """A folder with the plugin and a kubectl that prints what it would execute in a pod, or a pod's file."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "kubectl-monlat").symlink_to(PLUGIN)
    wrapper = folder / "kubectl"
    wrapper.write_text(
        f'#!/bin/sh\ncase " $* " in\n'
        f'*" exec "*"peers --json "*) for each; do [ ! -f "{tmp_path}/$each" ] || exec cat "{tmp_path}/$each"; done\n'
        f'    echo "pod is silent" >&2; exit 1 ;;\n'
        f'*" exec "*) printf "%s\\n" "$*"; exit 3 ;;\n'
        f'esac\nexec {shlex.quote(kubectl)} "$@"\n'
    )
    wrapper.chmod(0o755)
    return folder


class Plugin:
    def __init__(self, programs: Path, kubeconfig: Path) -> None:
        self._environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "KUBECONFIG": str(kubeconfig),
            "HOME": str(programs),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `kubectl monlat` as a user does: kubectl finds the plugin on PATH."""
        return subprocess.run(
            ["kubectl", "monlat", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def failure(self, *arguments: str) -> str:
        """Run it where it must fail with one line, and return that line."""
        done = self.run(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
        return done.stderr


@pytest.fixture
def plugin(programs: Path, kubeconfig: Path) -> Plugin:
    return Plugin(programs, kubeconfig)


@pytest.mark.parametrize(
    ("line", "executed"),
    [
        ("peers --node node2", "monlat peers"),
        ("--node node2 explain node1 --json", "monlat explain node1 --json"),
        ("watch --interval 2s --node=node2", "monlat watch --interval 2s"),
        ("doctor --node node2 192.0.2.1 192.0.2.2", "monlat doctor 192.0.2.1 192.0.2.2"),
        ("ping -c 3 192.0.2.1 --node node2", "monlat ping -c 3 192.0.2.1"),
    ],
)
def test_commands_run_in_the_pod_on_the_node(plugin: Plugin, line: str, executed: str) -> None:
    """Without a terminal; what the plugin does not know is passed on; the exit status is that of the pod's command."""
    done = plugin.run(*line.split())
    assert done.stdout == f"exec --namespace monlat a-2 --container agent -- {executed}\n"
    assert done.returncode == 3


@pytest.mark.parametrize(
    "line", ["matrix", "matrix --measure loss --zones", "diagnose", "diagnose --json", "diagnose --watch --interval 5s"]
)
def test_commands_about_the_cluster_run_in_the_collector(plugin: Plugin, server: Server, line: str) -> None:
    """In the newest pod that runs; the exit status is that of the command there."""
    server.namespaces["monlat"] += [
        collector_pod("c-1"),
        collector_pod("c-2", created="2026-01-01T00:00:02Z"),
        collector_pod("c-3", CRASHED, created="2026-01-01T00:00:03Z"),
    ]
    done = plugin.run(*line.split())
    assert done.stdout == f"exec --namespace monlat c-2 --container collector -- monlat {line}\n"
    assert done.returncode == 3


def test_missing_collector_names_the_component(plugin: Plugin, server: Server) -> None:
    """One line. `diagnose` has status 2, as where it cannot be told: 1 would mean that something is broken."""
    text = plugin.failure("matrix")
    assert "the namespace monlat has no collector" in text
    assert "manifests/components/collector" in text
    assert "collector.enabled=true" in text
    assert (ROOT / "manifests/components/collector/kustomization.yaml").exists()
    done = plugin.run("diagnose")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", text)
    assert "there is no namespace wrong" in plugin.failure("matrix", "-n", "wrong")
    server.namespaces["monlat"].append(collector_pod("c-1", CRASHED))
    text = plugin.failure("matrix")
    assert "the collector does not run: its container is waiting: CrashLoopBackOff" in text
    assert "kubectl --namespace monlat describe pod c-1" in text


def test_other_namespace_and_context_are_used(plugin: Plugin, server: Server) -> None:
    """The context is passed to kubectl in both of its runs."""
    server.namespaces["other"] = [pod("b-1", "node1")]
    done = plugin.run("peers", "-n", "other", "--context", "it", "--node", "node1")
    assert done.stdout == "--context=it exec --namespace other b-1 --container agent -- monlat peers\n"
    assert "does not exist" in plugin.failure("peers", "--context", "another", "--node", "node1")


def test_the_pod_that_runs_is_taken(plugin: Plugin, server: Server) -> None:
    """While a rollout replaces an agent, its node has two pods; what is left of an evicted one does not count."""
    deleted = pod("a-3", "node1", created="2026-01-01T00:00:03Z")
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:04Z"
    evicted = pod("a-4", "node1", {"terminated": {"reason": "Evicted"}}, created="2026-01-01T00:00:04Z")
    server.namespaces["monlat"] += [deleted, evicted]
    assert " a-1 " in plugin.run("peers", "--node", "node1").stdout


def test_each_missing_part_is_named(plugin: Plugin, server: Server) -> None:
    """The node, its agent, all agents, the namespace."""
    assert "there is no node nod1. Agents run on node1, node2." in plugin.failure("peers", "--node", "nod1")
    assert "no agent runs on node node3" in plugin.failure("peers", "--node", "node3")
    server.namespaces["empty"] = []
    assert "the namespace empty has no agents" in plugin.failure("peers", "-n", "empty", "--node", "node1")
    assert "there is no namespace wrong" in plugin.failure("peers", "-n", "wrong", "--node", "node1")
    assert "the namespace empty has no agents" in plugin.failure("-n", "empty")
    assert "there is no namespace wrong" in plugin.failure("-n", "wrong")


def test_an_agent_that_does_not_run_is_named_with_its_reason(plugin: Plugin, server: Server) -> None:
    """`kubectl exec` would say no more than "container not found"."""
    server.namespaces["monlat"] = [pod("a-1", "node1", CRASHED)]
    text = plugin.failure("peers", "--node", "node1")
    assert "waiting: CrashLoopBackOff" in text
    assert "kubectl --namespace monlat describe pod a-1" in text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("peers", "give --node NODE"),
        ("peer --node node1", "there is no command 'peer'"),
        ("matrix --node node1", "matrix takes no node"),
        ("--node node1", "the matrix takes no node"),
    ],
)
def test_a_wrong_line_is_a_usage_error(plugin: Plugin, line: str, text: str) -> None:
    """Status 2, as usual for command lines."""
    done = plugin.run(*line.split())
    assert done.returncode == 2
    assert text in done.stderr


def answer(*pairs: tuple[str, str, float | None]) -> str:
    shown = [{"to": to, "family": family, "rtt_seconds": {"last": last}} for to, family, last in pairs]
    return json.dumps({"pairs": shown})


def test_matrix_shows_the_first_family_that_answers(plugin: Plugin, server: Server, tmp_path: Path) -> None:
    """0.25 ms over IPv4; only IPv6 answers; a peer without a reply; a node that is not probed.

    Agents without an answer have "?" in their rows, and the exit status is 1.
    """
    server.namespaces["monlat"] += [pod("a-3", "node3"), pod("a-4", "node4", CRASHED)]
    (tmp_path / "a-1").write_text(answer(("node2", "ipv4", 0.00025), ("node2", "ipv6", 0.5), ("node3", "ipv4", None)))
    (tmp_path / "a-2").write_text(answer(("node1", "ipv4", None), ("node1", "ipv6", 0.012)))
    done = plugin.run()
    assert done.stdout.splitlines() == [
        "RTT in ms, last",
        "FROM \\ TO   node1  node2  node3  node4",
        "node1           -  0.250   lost      .",
        "node2      12.000      -      .      .",
        "node3           ?      ?      -      ?",
        "node4           ?      ?      ?      -",
    ]
    assert done.stderr.splitlines() == [
        "kubectl monlat: node node3: pod is silent",
        "kubectl monlat: node node4: the agent does not run: its container is waiting: CrashLoopBackOff",
    ]
    assert done.returncode == 1
