"""A real API server without nodes, and pods in it whose status a program writes as a kubelet would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import urllib3
import yaml
from prometheus_client.parser import text_string_to_metric_families

from testkit.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = "monlat"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
STEP_SECONDS = 0.5
"""Between two steps of a pod, so that the controller writes each into the slices; a real one takes seconds."""


class ApiServer:
    """The API server of a cluster with a control plane alone, from entering to leaving the block."""

    def __init__(self) -> None:
        self._maker = os.environ.get("MONLAT_CLUSTER", str(ROOT.parent / "shared/kubernetes/cluster"))
        self._folder = Path(os.environ.get("LAB_DIR", "/var/lib/monlat-kubernetes"))
        if not os.access(self._maker, os.X_OK):
            sys.exit(f"api_traffic: there is no cluster to make: {self._maker} is no program; set MONLAT_CLUSTER")
        if self._folder.exists():
            sys.exit(f"api_traffic: a cluster is up in {self._folder}: '{self._maker} down' ends it")

    def __enter__(self) -> Self:
        try:
            self.command("up", "0")
            self._kubeconfig = str(self._folder / "admin.conf")
            proxy = [*self._kubectl(), "proxy", "--port=0"]
            self._proxy = subprocess.Popen(proxy, stdout=subprocess.PIPE, text=True)
            assert self._proxy.stdout is not None
            port = int(self._proxy.stdout.readline().rpartition(":")[2])
            self._pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=8, block=True, retries=False, timeout=30)
        except BaseException:
            self.command("down")
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.kill()
        self._proxy.communicate()
        self.command("down")

    def _kubectl(self) -> list[str]:
        return [str(ROOT / ".venv/bin/kubectl"), "--kubeconfig", self._kubeconfig]

    def command(self, *arguments: str) -> None:
        """Run a command of the maker. What it starts in the background keeps its output, so that goes to a file."""
        with tempfile.TemporaryFile("w+") as log:
            if subprocess.run([self._maker, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL).returncode:
                log.seek(0)
                sys.exit(f"api_traffic: {self._maker} {' '.join(arguments)}:\n{log.read()}")

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return subprocess.run(
            [*self._kubectl(), *arguments], input=stdin, capture_output=True, text=True, check=True
        ).stdout

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """Send one request and return the answer's body. Raises RuntimeError and urllib3's errors."""
        kind = "merge-patch+json" if method == "PATCH" else "json"
        headers = {"Content-Type": f"application/{kind}"}
        answer = self._pool.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
        if answer.status > 299:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.data[:300]!r}")
        return answer.data

    def list_bytes(self, encoding: str) -> int:
        """Return the bytes of the list of the slices as they are sent to a client that accepts this encoding."""
        answer = self._pool.request("GET", SLICES, headers={"Accept-Encoding": encoding}, preload_content=False)
        size = len(answer.read(decode_content=False))
        answer.release_conn()
        return size

    def lists(self) -> float:
        """Return how often this API server has listed the slices of one namespace."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.ask("GET", "/metrics").decode())
            for sample in family.samples
            if sample.name == "apiserver_request_total"
            and sample.labels["resource"] == "endpointslices"
            and sample.labels["verb"] == "LIST"
            and sample.labels["scope"] != "cluster"
        )

    def kubeconfig(self, folder: Path) -> Path:
        """Write a kubeconfig with the service account of the agents."""
        admin = yaml.safe_load(Path(self._kubeconfig).read_text())
        token = self.kubectl("create", "token", "monlat-agent", "--namespace", NAMESPACE, "--duration=2h").strip()
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "agents",
            "contexts": [{"name": "agents", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
            "clusters": [{"name": "c", "cluster": admin["clusters"][0]["cluster"]}],
            "users": [{"name": "u", "user": {"token": token}}],
        }
        (folder / "kubeconfig").write_text(json.dumps(document))
        return folder / "kubeconfig"


class Pods:
    """Nodes and their agents' pods as objects. A pod's status is what a kubelet writes."""

    def __init__(self, server: ApiServer, count: int) -> None:
        self._server = server
        self._count = count
        self._generations = [0] * count
        self._workers = ThreadPoolExecutor(8)
        objects = list(yaml.safe_load_all(server.kubectl("kustomize", str(ROOT / "manifests/base"))))
        kept = [each for each in objects if each["kind"] != "DaemonSet"]
        server.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(kept))
        self._labels = next(each["spec"]["selector"] for each in kept if each["kind"] == "Service")

    def make(self) -> None:
        """Make all nodes and pods, ready."""
        everyone = range(self._count)
        list(self._workers.map(self._make_node, everyone))
        for step in (self._create, self._give_address, self._make_ready):
            list(self._workers.map(step, everyone))
        self.wait_until_listed()

    def wait_until_listed(self) -> None:
        """Wait until the controller has written into the slices that the pods of today are ready, and no others.

        Where its cache is behind, as on a busy machine, it waits twice as long before each further attempt.
        """
        wait_until(self._are_listed, "the slices do not show the pods", seconds=300, pause=0.1)

    def _are_listed(self) -> bool:
        slices = json.loads(self._server.ask("GET", SLICES))["items"]
        endpoints = [endpoint for each in slices for endpoint in each["endpoints"] or () if endpoint["addresses"]]
        names = {endpoint["targetRef"]["name"] for endpoint in endpoints}
        expected = {self._pod(number).rpartition("/")[2] for number in range(self._count)}
        return names == expected and all(endpoint["conditions"]["ready"] for endpoint in endpoints)

    def replace(self, batch: int) -> None:
        """Replace all pods, `batch` at once, in the four steps that the slices show."""
        for start in range(0, self._count, batch):
            chosen = range(start, min(start + batch, self._count))
            list(self._workers.map(self._terminate, chosen))
            time.sleep(STEP_SECONDS)
            list(self._workers.map(self._remove, chosen))
            for number in chosen:
                self._generations[number] += 1
            list(self._workers.map(self._create, chosen))
            time.sleep(STEP_SECONDS)
            list(self._workers.map(self._give_address, chosen))
            time.sleep(STEP_SECONDS)
            list(self._workers.map(self._make_ready, chosen))
            self.wait_until_listed()

    def remove(self) -> None:
        list(self._workers.map(self._remove, range(self._count)))
        for number in range(self._count):
            self._server.ask("DELETE", f"/api/v1/nodes/{name_of_node(number)}")

    def _pod(self, number: int) -> str:
        return f"/api/v1/namespaces/{NAMESPACE}/pods/monlat-agent-{self._generations[number]}-{number}"

    def _make_node(self, number: int) -> None:
        labels = {"topology.kubernetes.io/zone": f"zone-{number % 3}"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name_of_node(number), "labels": labels}}
        self._server.ask("POST", "/api/v1/nodes", node)

    def _create(self, number: int) -> None:
        path, _, name = self._pod(number).rpartition("/")
        port = {"name": "metrics", "containerPort": 10045, "hostPort": 10045}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": self._labels},
            "spec": {
                "nodeName": name_of_node(number),
                "hostNetwork": True,
                "serviceAccountName": "monlat-agent",
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "agent", "image": "monlat", "ports": [port]}],
            },
        }
        self._server.ask("POST", path, pod)

    def _give_address(self, number: int, ready: str = "False") -> None:
        addresses = [f"10.90.{number >> 8}.{number & 255}", f"fd90::{number + 1:x}"]
        status = {
            "phase": "Running",
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": ready}],
        }
        self._server.ask("PATCH", f"{self._pod(number)}/status", {"status": status})

    def _make_ready(self, number: int) -> None:
        self._give_address(number, "True")

    def _terminate(self, number: int) -> None:
        self._server.ask("DELETE", self._pod(number), {"gracePeriodSeconds": 30})

    def _remove(self, number: int) -> None:
        self._server.ask("DELETE", self._pod(number), {"gracePeriodSeconds": 0})


def name_of_node(number: int) -> str:
    return f"node-{number:05}.example.internal"
