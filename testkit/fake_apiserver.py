"""A small API server that can fail in many ways: EndpointSlices of one namespace, over real sockets.

It imitates kube-apiserver 1.3x as far as a list and a watch of endpointslices need it:

- list: label selector, `limit` and `continue` over a consistent snapshot, the list's resourceVersion, gzip for a long
  one;
- watch: chunked, one JSON event per line, starting at a resourceVersion, `timeoutSeconds`, bookmarks when the test
  calls `bookmark`, an ERROR event with code 410 for a compacted version;
- Status objects for errors, bearer tokens, TLS.

It does not imitate authorization rules, field selectors, resourceVersionMatch, other resources, or writing through
the API: the test changes the slices by method calls. To make it fail, set `answer` to a function of api_faults.py. That
function answers all requests until `answer` is set to `honest` again.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from testkit.api_exchange import Answer, HttpServer, Json, Request, State, honest

LABEL = "kubernetes.io/service-name"


def endpoint(node: str, address: str, *, zone: str = "a", serving: bool = True, terminating: bool = False) -> Json:
    """Return an endpoint as the controller writes it for a Service with publishNotReadyAddresses."""
    return {
        "addresses": [address],
        "conditions": {"ready": True, "serving": serving, "terminating": terminating},
        "nodeName": node,
        "zone": zone,
        "targetRef": {"kind": "Pod", "name": f"monlat-agent-{node}", "namespace": "monlat"},
    }


def endpoint_slice(name: str, *endpoints: Json, kind: str = "IPv4", service: str = "monlat-agents") -> Json:
    """Return an EndpointSlice. The server adds its resourceVersion."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "monlat", "labels": {LABEL: service}},
        "addressType": kind,
        "endpoints": list(endpoints),
        "ports": [],
    }


class FakeApiServer:
    """The server, a context manager. It requires the token `bearer`, and uses TLS with `tls`: certificate and key."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        namespace: str = "monlat",
        bearer: str = "",
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self.namespace = namespace
        self.bearer = bearer
        self.answer: Answer = honest
        self.state = State()
        self.tls: ssl.SSLContext | None = None
        if tls is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self._server: HttpServer | None = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def up(self) -> None:
        """Listen; after down(), on the same port as before."""
        self.state.stopping = False
        self._server = HttpServer((self.host, self.port), self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fake-apiserver")
        self._thread.start()

    def down(self) -> None:
        """Close the listener and every connection. Keep the data."""
        if self._server is None:
            return
        with self.state.changed:
            self.state.stopping = True
            self.state.changed.notify_all()
        self._server.shutdown()
        self._server.abort()
        self._server.server_close()
        self._thread.join()
        self._server = None

    def kubeconfig(self, file: Path) -> Path:
        """Write a kubeconfig for this server, and return its path."""
        user = {"token": self.bearer} if self.bearer else {}
        context = {"cluster": "fake", "user": "fake", "namespace": self.namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": user}],
            "contexts": [{"name": "fake", "context": context}],
            "current-context": "fake",
        }
        file.write_text(json.dumps(config))
        return file

    def put(self, *slices: Json) -> None:
        """Add or replace slices: one change each, all at the same moment."""
        with self.state.changed:
            for each in slices:
                name = each["metadata"]["name"]
                kind = "MODIFIED" if name in self.state.slices else "ADDED"
                versioned = self._next_version(each)
                self.state.slices[name] = versioned
                self._send_event(kind, versioned)

    def delete(self, *names: str) -> None:
        """Remove slices: one change each, all at the same moment."""
        with self.state.changed:
            for name in names:
                self._send_event("DELETED", self._next_version(self.state.slices.pop(name)))

    def bookmark(self) -> None:
        """Send a newer version to all watches, without a change."""
        with self.state.changed:
            self.state.version += 1
            metadata = {"resourceVersion": str(self.state.version)}
            self._send_event("BOOKMARK", {"kind": "EndpointSlice", "metadata": metadata})

    def send_line(self, line: bytes) -> None:
        """Send a line to all watches, unchanged."""
        with self.state.changed:
            self.state.version += 1
            self.state.events.append((self.state.version, line + b"\n"))
            self.state.changed.notify_all()

    def compact(self) -> None:
        """Forget all events so far: a watch at an older version is answered with 410."""
        with self.state.changed:
            self.state.version += 1
            self.state.oldest = self.state.version

    def requests(self, *, watch: bool | None = None) -> list[Request]:
        with self.state.changed:
            return [each for each in self.state.requests if watch is None or each.watch == watch]

    def wait_for_requests(self, count: int, *, watch: bool | None = None, seconds: float = 20) -> None:
        """Wait until `count` requests have come in total. Raises TimeoutError."""
        self._wait(lambda: len([r for r in self.state.requests if watch in (None, r.watch)]) >= count, seconds)

    def wait_for_watches(self, count: int, seconds: float = 20) -> None:
        """Wait until exactly `count` honest watches are open. Raises TimeoutError."""
        self._wait(lambda: self.state.watches == count, seconds)

    def _wait(self, met: Callable[[], bool], seconds: float) -> None:
        with self.state.changed:
            if not self.state.changed.wait_for(met, seconds):
                raise TimeoutError(f"{len(self.state.requests)} requests came, {self.state.watches} watches are open")

    def _next_version(self, each: Json) -> Json:
        self.state.version += 1
        return {**each, "metadata": {**each["metadata"], "resourceVersion": str(self.state.version)}}

    def _send_event(self, kind: str, content: Json) -> None:
        line = json.dumps({"type": kind, "object": content}).encode() + b"\n"
        self.state.events.append((self.state.version, line))
        self.state.changed.notify_all()
