"""Scrape all agents again and again while something happens, and say how long a series was missing."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Self

from tests.real_cluster.agents import LATENCY, Agents, label_values, ordered_pairs, value

SCRAPE_SECONDS: Final = 10.0
"""The scrape interval of manifests/prometheus/scrape.yml."""

_PAUSE: Final = 0.5


class Sampler:
    """Samples the agents of nodes in a thread, from entering to leaving the block."""

    def __init__(self, agents: Agents, nodes: Sequence[str]) -> None:
        self._agents = agents
        self._nodes = nodes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = self._ended = time.monotonic()
        self._seen: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._sent: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        self.rounds = 0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._ended = time.monotonic()

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE):
            self.rounds += 1
            for node in self._nodes:
                try:
                    pod, text = self._agents.name_on(node), self._agents.metrics(node)
                except (OSError, KeyError):
                    continue
                now = time.monotonic()
                for peer in label_values(text, LATENCY, "to"):
                    self._seen[node, peer].append(now)
                for peer in self._nodes:
                    if peer != node:
                        self._sent[pod, node, peer].append(value(text, "monlat_probes_sent_total", to=peer))

    def longest_gaps(self) -> dict[tuple[str, str], float]:
        """Return the longest time in seconds without `latency_between_nodes` of each pair."""
        gaps = {}
        for pair in ordered_pairs(self._nodes):
            times = [self._started, *self._seen[pair], self._ended]
            gaps[pair] = max(later - earlier for earlier, later in pairwise(times))
        return gaps

    def forgotten(self) -> list[tuple[str, str, str]]:
        """Return pod, node and peer where one agent's count of probes to a peer fell: it forgot the peer's history."""
        return [key for key, counts in self._sent.items() if counts != sorted(counts)]
