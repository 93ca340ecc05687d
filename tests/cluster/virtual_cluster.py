"""A cluster of containers on this machine: nodes are namespaces on a bridge, and an API server is on the bridge too."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from monlat_ebpf.testbed.network import Cluster
from testkit.fake_apiserver import FakeApiServer, endpoint, endpoint_slice
from testkit.links import Links
from tests.cluster.containers import Container, NodeSide
from tests.cluster.image import Image
from tests.manifest_files import MANIFESTS, Object

API_ADDRESS: Final = "10.77.0.250"
_NEW_CA: Final = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=fake"


class VirtualCluster:
    """Nodes node1, node2, … and the API server that lists them. Some nodes run agents.

    `members` are the nodes that the server lists, with their addresses. Call `list_members` after changing it. A node
    without an agent is measured too, because its kernel answers.
    """

    def __init__(self, nodes: int, image: Image, folder: Path) -> None:
        self._stack = ExitStack()
        self._folder = folder
        self._image = image
        self.network = Cluster(nodes)
        self.members: dict[str, tuple[str, str]] = {}

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.enter_context(self.network)
            with Links(self.network.switch) as links:
                links.add_address("bridge", f"{API_ADDRESS}/24")
                links.wait_until_usable("bridge", (API_ADDRESS,))
            account = self._service_account()
            self.api = FakeApiServer(API_ADDRESS, 443, bearer="token", tls=(account / "ca.crt", self._folder / "key"))
            with self.network.switch.entered():
                self._stack.enter_context(self.api)
            self._node = NodeSide(
                name="",
                network="",
                seccomp=MANIFESTS / "seccomp",
                service_account=account,
                environment={"KUBERNETES_SERVICE_HOST": API_ADDRESS, "KUBERNETES_SERVICE_PORT": "443"},
            )
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _service_account(self) -> Path:
        """Write the files that the kubelet mounts into a pod: token, namespace, and the server's certificate as CA."""
        account = self._folder / "serviceaccount"
        account.mkdir()
        (account / "namespace").write_text("monlat")
        (account / "token").write_text("token")
        for file in account.iterdir():
            file.chmod(0o644)  # readable without root, as the kubelet makes it
        names = ["-addext", f"subjectAltName=IP:{API_ADDRESS}"]
        files = ["-keyout", str(self._folder / "key"), "-out", str(account / "ca.crt")]
        subprocess.run([*_NEW_CA.split(), *names, *files], check=True, capture_output=True)
        return account

    def add_member(self, name: str) -> None:
        """Add a node and its addresses to the members."""
        node = self.network[name]
        self.members[name] = (node.ipv4, node.ipv6)

    def list_members(self) -> None:
        """Send the members to the agents: a slice per family, as a dual-stack Service has."""
        for family, kind in enumerate(("IPv4", "IPv6")):
            endpoints = [endpoint(name, addresses[family]) for name, addresses in self.members.items()]
            self.api.put(endpoint_slice(f"monlat-agents-{kind.lower()}", *endpoints, kind=kind))

    def agent(self, name: str, pod: Object) -> Container:
        """Start the pod's container on a node. It ends with the cluster."""
        side = replace(self._node, name=name, network=self.network[name].namespace.path)
        container = Container(self._image, pod, side, self._folder)
        return self._stack.enter_context(container)

    def get(self, name: str, path: str) -> str:
        """Return a page of the agent on a node, requested on that node. Raises OSError without an answer."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with self.network[name].namespace.entered(), opener.open(f"http://127.0.0.1:10045{path}", timeout=5) as answer:
            body: bytes = answer.read()
            return body.decode()

    def pairs(self, name: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the agent's pairs on a node, by peer and family; empty while it does not answer."""
        try:
            state = json.loads(self.get(name, "/api/v1/peers"))
        except OSError:
            return {}
        return {(pair["to"], pair["family"]): {**pair, "source": state["source"]} for pair in state["pairs"]}
