"""Kubernetes discovery against kmock, an API server in memory that others wrote.

kmock imitates list, watch, create, patch and delete for any resource. It has no selectors, pages, bookmarks, timeouts,
410 or resourceVersions; testkit/fake_apiserver.py imitates those.
"""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kmock
import pytest

from testkit.fake_apiserver import FakeApiServer, endpoint, endpoint_slice
from tests.cluster.following import CALM, Following

SLICES = "/apis/discovery.k8s.io/v1/namespaces/monlat/endpointslices"


class Kmock:
    """kmock in its own thread, because discovery blocks. A context manager."""

    def __enter__(self) -> Kmock:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="kmock")
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    def send(self, method: str, path: str, body: Any = None) -> None:
        """Change an object as another client of the API does."""
        data = None if body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json"}
        request = urllib.request.Request(self.url + path, data, kind, method=method)  # noqa: S310  # http, on loopback
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310  # as above
            response.read()

    async def _serve(self) -> None:
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        async with kmock.KubernetesEmulator() as emulator, kmock.Server(emulator) as server:
            slices = "discovery.k8s.io/v1/endpointslices"
            emulator.resources[slices] = kmock.ResourceInfo(kind="EndpointSlice", namespaced=True)
            self.url = str(server.url).rstrip("/")
            self._ready.set()
            await self._done.wait()


@pytest.fixture
def server() -> Iterator[Kmock]:
    with Kmock() as running:
        yield running


def test_changes_are_followed_without_resource_versions(server: Kmock, tmp_path: Path) -> None:
    """Without versions the order of arrival decides."""
    server.send("POST", SLICES, endpoint_slice("one", endpoint("me", "10.0.0.1"), endpoint("n2", "10.0.0.2")))
    elsewhere = FakeApiServer()  # not started: it only writes the kubeconfig
    elsewhere.host, elsewhere.port = "127.0.0.1", int(server.url.rpartition(":")[2])
    with Following(elsewhere.kubeconfig(tmp_path / "kubeconfig"), replace(CALM, healthy_seconds=0)) as following:
        following.wait_for({"n2": "10.0.0.2"})
        server.send("POST", SLICES, endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        following.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})
        server.send("PATCH", f"{SLICES}/two", {"endpoints": [endpoint("n3", "10.0.0.33")]})
        following.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.33"})
        server.send("DELETE", f"{SLICES}/one")
        following.wait_for({"n3": "10.0.0.33"})
        following.stop()
    assert following.errors() == {}
