"""Kubernetes discovery under test: what it published, and what it counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry

from monlat_ebpf.config import KubernetesConfig, Timing
from monlat_ebpf.discovery.kubernetes import KubernetesDiscovery
from monlat_ebpf.model import Peer

QUICK = Timing(
    backoff_base=0.05,
    backoff_cap=0.2,
    requests_per_second=20,
    connect_timeout=1,
    list_timeout=0.5,
    quiet_seconds=0.5,
    healthy_seconds=0.3,
    debounce_seconds=0.05,
)
"""The same patience as in a cluster, in tenths and hundredths of it, so that no test waits a minute."""

CALM = replace(QUICK, quiet_seconds=20)
"""For tests in which nothing should end a watch."""


class Following:
    """A discovery that follows the server of `kubeconfig`, as the node `me`; use it as a context manager."""

    def __init__(
        self,
        kubeconfig: Path | str,
        timing: Timing = CALM,
        *,
        max_peers: int = 5000,
        config: KubernetesConfig | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self.lists: list[tuple[Peer, ...]] = []
        self._changed = threading.Condition()  # an RLock: `peers` is asked for within
        self._discovery = KubernetesDiscovery(
            config or KubernetesConfig(kubeconfig=str(kubeconfig)),
            node_name="me",
            max_peers=max_peers,
            registry=self.registry,
            timing=timing,
        )

    def __enter__(self) -> Self:
        self._discovery.start(self._take)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> float:
        """Stop the discovery, and return how many seconds that took."""
        started = time.monotonic()
        self._discovery.stop()
        return time.monotonic() - started

    @property
    def own_zone(self) -> str:
        return self._discovery.own_zone

    @property
    def peers(self) -> dict[str, str]:
        """The last list: each name with its addresses, separated by blanks."""
        with self._changed:
            return _told(self.lists[-1]) if self.lists else {}

    def wait_for(self, peers: dict[str, str], seconds: float = 20) -> float:
        """Return when `peers` were published, with the seconds that took. Raises TimeoutError."""
        started = time.monotonic()
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self.lists) and _told(self.lists[-1]) == peers, seconds):
                raise TimeoutError(f"the last of {len(self.lists)} lists is {self.peers}")
        return time.monotonic() - started

    def value(self, name: str, **labels: str) -> float:
        """Return a series of monlat_discovery_*."""
        value = self.registry.get_sample_value(f"monlat_discovery_{name}", labels)
        assert value is not None, name
        return value

    def errors(self) -> dict[str, int]:
        """Return how many errors were counted, by reason; none for a reason that did not occur."""
        samples = [sample for metric in self.registry.collect() for sample in metric.samples]
        counts = {s.labels["reason"]: int(s.value) for s in samples if s.name == "monlat_discovery_errors_total"}
        return {reason: count for reason, count in counts.items() if count}

    def _take(self, peers: Sequence[Peer]) -> None:
        with self._changed:
            self.lists.append(tuple(peers))
            self._changed.notify_all()


def _told(peers: Sequence[Peer]) -> dict[str, str]:
    return {peer.name: " ".join(str(address) for address in peer.addresses) for peer in peers}


def threads_of_discovery() -> list[str]:
    """Return the names of discovery's threads that live."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("monlat-")]
