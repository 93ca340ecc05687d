"""Agents that count: each time they are asked for their counts, so many probes of each pair have ended since."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any

from testkit.fake_agents import honest
from tests.unit.collector_counts import counted, document

PROBES = 10  # between two questions
USUAL_BUCKET, SLOW_BUCKET = 61, 101  # 0.18 and 5.8 ms
ASKED_FOR_COUNTS = "/api/v1/peers?buckets=true"


class CountingAgents:
    """The agents of `names`, each probing all others. `lost` and `slow` have the pairs that are not as usual."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.lost: set[tuple[str, str]] = set()
        self.slow: set[tuple[str, str]] = set()
        self.asked: Counter[str] = Counter()
        self._rtts: dict[tuple[str, str], Counter[int]] = {}
        self._lost: Counter[tuple[str, str]] = Counter()

    def answer(self, name: str, connection: socket.socket, target: str) -> None:
        """The behaviour of an agent."""
        if target == ASKED_FOR_COUNTS:
            self.asked[name] += 1
            self._probe(name)
            honest(self.document(name))(connection, target)
        else:
            honest(_without_counts(self.document(name)))(connection, target)

    def answer_as_before(self, name: str, connection: socket.socket, target: str) -> None:
        """The behaviour of an agent of an older version, which knows of no counts."""
        self._probe(name)
        honest(_without_counts(self.document(name)))(connection, target)

    def document(self, name: str) -> dict[str, Any]:
        pairs = [
            counted(to, self._rtts.get((name, to), Counter()), self._lost[name, to], **{"from": name, "probes": []})
            for to in self.names
            if to != name
        ]
        return document(*pairs, node=name)

    def _probe(self, name: str) -> None:
        for to in self.names:
            if (name, to) in self.lost:
                self._lost[name, to] += PROBES
            elif to != name:
                bucket = SLOW_BUCKET if (name, to) in self.slow else USUAL_BUCKET
                self._rtts.setdefault((name, to), Counter())[bucket] += PROBES

    def around(self, node: str) -> set[tuple[str, str]]:
        """The pairs of a node, in both directions."""
        return {(one, other) for one in self.names for other in self.names if node in (one, other) and one != other}


def _without_counts(found: dict[str, Any]) -> dict[str, Any]:
    pairs = [{key: value for key, value in each.items() if key != "buckets"} for each in found["pairs"]]
    added = ("created_unix_seconds", "schedule_lag_buckets")
    return {**{key: value for key, value in found.items() if key not in added}, "pairs": pairs}
