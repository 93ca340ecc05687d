"""What every agent answered last. The tasks that ask write it; the thread that renders reads it."""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from monlat_ebpf.collector.answer import LOSSES, LOST, NOT_PROBED, STALE, Row
from monlat_ebpf.collector.counts import AgentCounts
from monlat_ebpf.collector.fetch import AskError
from monlat_ebpf.collector.history import Point, RowHistory
from monlat_ebpf.collector.loss import LossWindow
from monlat_ebpf.collector.recent import Recent, RecentCounts
from monlat_ebpf.model import Peer

FAILURES_UNTIL_STALE: Final = 2
"""One question may go wrong; the next is asked a second later."""

_TYPICAL_SECONDS: Final = 300.0  # between two looks at the history of all pairs of an agent
_EARLY_SECONDS: Final = 60.0  # while the history is short


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node as the collector knows it at one instant.

    `age_seconds` is the age of its agent's last good answer, None before the first. `failure` is why the agent had none
    since. `row` and what belongs to it are of that answer: the share of lost probes by measure, over
    `loss_window_seconds`, and the median RTT of each pair's own history. `is_stale`: the row is not the present.
    """

    name: str
    zone: str
    age_seconds: float | None
    failure: AskError | None
    is_stale: bool
    row: Row | None
    losses: Mapping[str, array[float]]
    loss_window_seconds: float
    typical_rtts: array[float]


class _Agent:
    def __init__(self, peer: Peer, share: int) -> None:
        self.peer = peer
        self.answered_at: float | None = None
        self.failure: AskError | None = None
        self.failures = 0
        self.row: Row | None = None
        self.losses: Mapping[str, array[float]] = {}
        self.window = LossWindow()
        self.history = RowHistory(share)
        self.recent = RecentCounts()
        self.typical_rtts = array("f")
        self.typical_at = -math.inf

    def answer(self, now: float, unix_seconds: int, row: Row, counts: AgentCounts | None) -> None:
        if counts is not None:
            self.recent.update(now, counts)
        lost_since = _lost_since(self.row, row)
        self.losses = self.window.update(now, row)
        self.history.record(unix_seconds, row.to, row.values["rtt"], lost_since)
        pause = _TYPICAL_SECONDS if now - self.window.started_at > _TYPICAL_SECONDS else _EARLY_SECONDS
        if now - self.typical_at >= pause or self.row is None or self.row.to != row.to:
            self.typical_rtts = array("f", map(self.history.typical_rtt, row.to))
            self.typical_at = now
        self.answered_at, self.row, self.failure, self.failures = now, row, None, 0


class Store:
    """The answers of all agents. Every method may be called in any thread.

    An answer older than `stale_after_seconds` is stale. All histories together take at most `history_bytes`.
    """

    def __init__(
        self,
        *,
        stale_after_seconds: float,
        history_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.stale_after_seconds: Final = stale_after_seconds
        self._history_bytes = history_bytes
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._agents: dict[str, _Agent] = {}

    def set_peers(self, peers: Sequence[Peer]) -> None:
        """Keep the agents of `peers` alone. Those that stay keep their answers and their history."""
        share = self._history_bytes // max(len(peers), 1)
        with self._lock:
            old, self._agents = self._agents, {}
            for peer in peers:
                agent = self._agents[peer.name] = old.get(peer.name) or _Agent(peer, share)
                agent.peer, agent.history.share = peer, share

    def names(self) -> frozenset[str]:
        """Return the names of all nodes."""
        with self._lock:
            return frozenset(self._agents)

    def answered(self, name: str, row: Row, counts: AgentCounts | None = None) -> None:
        """Take the answer of an agent; one that has left the list is forgotten."""
        with self._lock:
            if agent := self._agents.get(name):
                agent.answer(self._clock(), int(self._wall_clock()), row, counts)

    def failed(self, name: str, error: AskError) -> None:
        """Note that an agent had no usable answer."""
        with self._lock:
            if agent := self._agents.get(name):
                agent.failure, agent.failures = error, agent.failures + 1

    def view(self) -> Sequence[NodeView]:
        """Return all nodes at one instant, sorted by zone and name, the numbers in names by value."""
        with self._lock:
            now = self._clock()
            views = [self._view(agent, now) for agent in self._agents.values()]
        return sorted(views, key=lambda view: (natural(view.zone), natural(view.name)))

    def node(self, name: str) -> NodeView | None:
        """Return one node; None if there is none of that name."""
        with self._lock:
            agent = self._agents.get(name)
            return self._view(agent, self._clock()) if agent else None

    def history(self, source: str, to: str) -> Sequence[Point]:
        """Return the history of a pair, oldest first; empty if nothing is known of it."""
        with self._lock:
            agent = self._agents.get(source)
            return list(agent.history.points(to)) if agent else []

    def recent(self, source: str, to: str) -> Recent | None:
        """Return the RTTs of a pair in the last minutes; None if the agent has no histograms."""
        with self._lock:
            agent = self._agents.get(source)
            return agent.recent.rtts(to) if agent else None

    @property
    def history_size(self) -> int:
        """Bytes that all histories take."""
        with self._lock:
            return sum(agent.history.size for agent in self._agents.values())

    def _view(self, agent: _Agent, now: float) -> NodeView:
        age = None if agent.answered_at is None else now - agent.answered_at
        return NodeView(
            agent.peer.name,
            agent.peer.zone or (agent.row.zone if agent.row else ""),
            age,
            agent.failure,
            age is None or age > self.stale_after_seconds or agent.failures >= FAILURES_UNTIL_STALE,
            agent.row,
            agent.losses,
            agent.window.seconds,
            agent.typical_rtts,
        )


def state_of(view: NodeView, position: int | None) -> int:
    """Return the state of the pair at `position` of the row; None: the row does not have it."""
    if view.row is None:
        return STALE
    state = NOT_PROBED if position is None else view.row.states[position]
    return STALE if view.is_stale and state != NOT_PROBED else state


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts node2 before node10."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for character in f"{name} ":
        if character.isascii() and character.isdigit():
            digits += character
            continue
        if digits:
            parts.append((0, int(digits), digits))
            digits = ""
        parts.append((1, 0, character))
    return parts


def _lost_since(before: Row | None, row: Row) -> list[bool]:
    """Return for each pair whether a probe was lost since `before`, or, without that, whether the last one was."""
    known = {name: position for position, name in enumerate(before.to)} if before else {}
    found = []
    for here, name in enumerate(row.to):
        there = known.get(name)
        lost = sum(row.counters[where][here] for where in LOSSES)
        earlier = None if there is None or before is None else sum(before.counters[where][there] for where in LOSSES)
        found.append(row.states[here] == LOST or (earlier is not None and lost != earlier))
    return found
