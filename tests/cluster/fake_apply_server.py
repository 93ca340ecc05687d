"""An API server for `kubectl apply`: it lists the kinds of objects and stores objects.

It imitates kube-apiserver 1.3x as far as client-side `kubectl apply --validate=false` needs it: discovery (/api, /apis
and their group lists), reading, creating and patching objects. It has no schema, admission, defaults or merging:
a patch is recorded but changes nothing.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Json = dict[str, Any]

KINDS: dict[str, list[tuple[str, str, bool]]] = {
    "v1": [
        ("namespaces", "Namespace", False),
        ("serviceaccounts", "ServiceAccount", True),
        ("services", "Service", True),
    ],
    "apps/v1": [("daemonsets", "DaemonSet", True)],
    "rbac.authorization.k8s.io/v1": [("roles", "Role", True), ("rolebindings", "RoleBinding", True)],
    "scheduling.k8s.io/v1": [("priorityclasses", "PriorityClass", False)],
    "monitoring.coreos.com/v1": [("podmonitors", "PodMonitor", True), ("prometheusrules", "PrometheusRule", True)],
}
"""By apiVersion: name in the path, kind, whether it is namespaced."""


class FakeApplyServer:
    """The server, a context manager. `stored` has the objects by their path."""

    def __init__(self) -> None:
        self.stored: dict[str, Json] = {}
        self.patched: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                found = _discovery(path) or owner.stored.get(path)
                self._answer(200 if found else 404, found or _status(404, "NotFound"))

            def do_POST(self) -> None:
                created = self._body()
                owner.stored[f"{self.path.partition('?')[0]}/{created['metadata']['name']}"] = created
                self._answer(201, created)

            def do_PATCH(self) -> None:
                path = self.path.partition("?")[0]
                self._body()
                owner.patched.append(path)
                self._answer(200, owner.stored[path])

            def _body(self) -> Json:
                body: Json = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                return body

            def _answer(self, status: int, body: Json) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _status(code: int, reason: str) -> Json:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}


def _discovery(path: str) -> Json | None:
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [_group(*version.split("/")) for version in KINDS if "/" in version]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version not in KINDS:
        return None
    verbs = ["create", "get", "patch"]
    resources = [
        {"name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": verbs}
        for name, kind, namespaced in KINDS[version]
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _group(name: str, version: str) -> Json:
    entry = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [entry], "preferredVersion": entry}
