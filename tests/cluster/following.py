"""Runs Kubernetes discovery in a test, and records what it publishes and counts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry

from monlat_ebpf.config import KubernetesConfig, Timing
from monlat_ebpf.discovery.kubernetes import KubernetesDiscovery
from monlat_ebpf.model import Address, Peer
from testkit.waiting import wait_until

QUICK = Timing(
    backoff_base=0.05,
    backoff_cap=0.2,
    outage_cap=0.2,
    requests_per_second=20,
    connect_timeout=1,
    list_timeout=0.5,
    quiet_seconds=0.5,
    healthy_seconds=0.3,
    debounce_seconds=0.05,
    keep_seconds=0.2,
)
"""The timing of a real agent, 10 to 1,000 times shorter, so that no test waits a minute."""

CALM = replace(QUICK, quiet_seconds=20)
"""For tests in which no timeout may end a watch."""

STOP_SECONDS = 10
"""Far more than a stop takes on a busy machine, and less than the time-outs of requests that no server answers."""


class Following:
    """A discovery on the node `me`, following the server in `kubeconfig`. A context manager."""

    def __init__(
        self,
        kubeconfig: Path | str,
        timing: Timing = CALM,
        *,
        config: KubernetesConfig | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self.lists: list[tuple[Peer, ...]] = []
        self._changed = threading.Condition()  # has an RLock, because `peers` is used while it is held
        self._discovery = KubernetesDiscovery(
            config or KubernetesConfig(kubeconfig=str(kubeconfig)),
            node_name="me",
            registry=self.registry,
            timing=timing,
        )

    def __enter__(self) -> Self:
        self._discovery.start(self._record)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the discovery. Raises TimeoutError when its thread goes on, as if it waited for the server."""
        self._discovery.stop()
        wait_until(lambda: not self._discovery._thread.is_alive(), "the thread does not end", seconds=STOP_SECONDS)

    @property
    def own_zone(self) -> str:
        return self._discovery.own_zone

    @property
    def own_addresses(self) -> Sequence[Address]:
        return self._discovery.own_addresses

    @property
    def peers(self) -> dict[str, str]:
        """The last list: each name with its addresses, separated by spaces."""
        with self._changed:
            return _names_and_addresses(self.lists[-1]) if self.lists else {}

    def wait_for(self, peers: dict[str, str], seconds: float = 20) -> None:
        """Return when `peers` are published. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: bool(self.lists) and _names_and_addresses(self.lists[-1]) == peers, seconds
            ):
                raise TimeoutError(f"the last of {len(self.lists)} lists is {self.peers}")

    def value(self, name: str, **labels: str) -> float:
        """Return the value of a series monlat_discovery_NAME."""
        value = self.registry.get_sample_value(f"monlat_discovery_{name}", labels)
        assert value is not None, name
        return value

    def errors(self) -> dict[str, int]:
        """Return the number of errors by reason, without reasons that did not occur."""
        samples = [sample for metric in self.registry.collect() for sample in metric.samples]
        counts = {s.labels["reason"]: int(s.value) for s in samples if s.name == "monlat_discovery_errors_total"}
        return {reason: count for reason, count in counts.items() if count}

    def _record(self, peers: Sequence[Peer]) -> None:
        with self._changed:
            self.lists.append(tuple(peers))
            self._changed.notify_all()


def _names_and_addresses(peers: Sequence[Peer]) -> dict[str, str]:
    return {peer.name: " ".join(str(address) for address in peer.addresses) for peer in peers}


def threads_of_discovery() -> list[str]:
    """Return the names of the running threads of discovery."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("monlat-")]
