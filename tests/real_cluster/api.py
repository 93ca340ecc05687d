"""A real cluster's API server: through kubectl, and through one `kubectl proxy` for what is asked often."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.manifest_files import Object

MOST_SECONDS = 300
PLUGINS = Path(__file__).parents[2] / "scripts"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str, seconds: float = 10) -> str:
    """Return a page. Raises OSError without an answer, or with an answer that is an error."""
    with _DIRECT.open(url, timeout=seconds) as answer:
        body: bytes = answer.read()
        return body.decode()


class Api:
    """The cluster of a kubeconfig, from entering to leaving the block.

    At `address` its API server answers over HTTP, without a password.
    """

    def __init__(self, kubectl: str, kubeconfig: str) -> None:
        self._kubectl = kubectl
        self.environment = os.environ | {
            "KUBECONFIG": kubeconfig,
            "PATH": f"{Path(kubectl).parent}:{PLUGINS}:{os.environ['PATH']}",
        }

    def __enter__(self) -> Self:
        self._proxy = subprocess.Popen(
            [self._kubectl, "proxy", "--port=0"], env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert self._proxy.stdout is not None
        line = self._proxy.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", line)
        if found is None:
            self.__exit__()
            raise AssertionError(f"kubectl proxy said {line!r}")
        self.address = found[0]
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.kill()
        self._proxy.communicate()

    def start(
        self, *arguments: str, seconds: float = MOST_SECONDS, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end, whatever its exit status."""
        command = [self._kubectl, *arguments]
        return subprocess.run(
            command, env=self.environment, input=stdin, capture_output=True, text=True, timeout=seconds, check=False
        )

    def run(self, *arguments: str, seconds: float = MOST_SECONDS, stdin: str = "") -> str:
        """Run kubectl and return its output. Raises AssertionError with its messages when it fails."""
        done = self.start(*arguments, seconds=seconds, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def apply(self, objects: Sequence[Object]) -> None:
        self.run("apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def text(self, path: str) -> str:
        """Return a page of the API server. Raises OSError."""
        return fetch(f"http://{self.address}{path}")

    def get(self, path: str) -> Object:
        """Return an object, or a list of them. Raises OSError, also when it does not exist."""
        found: Object = json.loads(self.text(path))
        return found

    def items(self, path: str) -> list[Object]:
        found: list[Object] = self.get(path)["items"]
        return found

    def exists(self, path: str) -> bool:
        try:
            self.get(path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise
        return True

    def nodes(self) -> dict[str, Object]:
        return {node["metadata"]["name"]: node for node in self.items("/api/v1/nodes")}

    def ready_nodes(self) -> list[str]:
        """The nodes whose kubelet works, by name."""
        return [name for name, node in sorted(self.nodes().items()) if _condition(node, "Ready") == "True"]

    def address_of(self, node: str) -> str:
        """The node's first address, at which the tests reach it only if the cluster is their own."""
        addresses = self.nodes()[node]["status"]["addresses"]
        found: str = next(each["address"] for each in addresses if each["type"] == "InternalIP")
        return found


def _condition(found: Object, kind: str) -> Any:
    return next((each["status"] for each in found["status"].get("conditions", ()) if each["type"] == kind), None)
