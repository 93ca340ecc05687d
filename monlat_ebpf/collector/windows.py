"""Successive answers of agents, cut into closed windows for the diagnosis. Pure: the caller passes the time.

A window is as long as `length` slots, and equally long for all agents: each agent's row has what it counted between its
answers in the last slot of the window before and in that of this window. As every agent has its own moment in a slot,
rows are shifted against each other by less than an interval: a fault reaches some rows a window earlier than others.

A row is missing (None) when the agent was asked in that slot and had no answer, and empty when nothing is known of the
time between two answers: after a window without an answer, after the agent has started again, and when the question
has not ended yet, because this process is short of time itself. So nothing is ever made up, and no row is of a longer
time. (An answer that came only when the agent was asked again is later than its moment by a part of the interval. Its
row is that much longer, and the next one that much shorter.)

What is new cannot be diagnosed. A pair counts from its second row on: in the first, addresses are resolved and the peer
may still be starting. An agent that has never answered is not missing until `NEW_SECONDS` after it was listed.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.collector.counts import COUNTERS, AgentCounts
from monlat_ebpf.collector.fetch import Failure
from monlat_ebpf.collector.growth import Growth, growth, only
from monlat_ebpf.collector.slots import Slots
from monlat_ebpf.config import SHORTEST_INTERVAL
from monlat_ebpf.diagnosis.window import Health, Node, Row, Samples, Window
from monlat_ebpf.model import HistogramKind, Result

NEW_SECONDS: Final = 60.0
"""An agent takes seconds to start, and its image longer to be pulled."""

MOST_PAIRS: Final = 100_000
"""Of more pairs than this the histograms are not asked for, and losses are diagnosed alone: a pair's take 1 KiB."""
MOST_OF_AGENT: Final = 2_500
"""The same for one agent: with the histograms of more, an answer may be longer than is read."""

_NOTHING: Final = Growth([], [array("I") for _ in range(COUNTERS)], {}, Health(0))


@dataclass(slots=True)
class _Agent:
    listed_at: float
    last: AgentCounts | None = None
    last_slot: int = -1
    failed_slot: int = -1
    seen: set[str] = field(default_factory=set)
    """Nodes of which there is a row, since the agent's start and without an end of the pair."""
    rows: dict[int, Growth] = field(default_factory=dict)
    """By the slot in which the agent answered."""
    is_too_long: bool = False
    """An answer with histograms was longer than is read."""

    @property
    def pairs(self) -> int:
        return len(self.last.pairs) if self.last else 0

    def answer(self, slot: int, length: int, counts: AgentCounts, most: int) -> None:
        found = _NOTHING
        if self.last is None or counts.is_restarted(self.last):
            self.seen = set()
        elif slot == self.last_slot + length:
            found = growth(self.last, counts, most)
            self.seen, seen = set(found.to), self.seen
            found = found if self.seen <= seen else only(found, seen)
        else:
            self.seen &= {to for to, _ in counts.pairs}
        self.last, self.last_slot, self.rows[slot] = counts, slot, found


class Windows:
    """The windows of all agents. Every method may be called in any thread; times are in seconds that only grow."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._lock = threading.Lock()
        self._agents: dict[str, _Agent] = {}
        self._length = 1
        self._pairs = 0

    @property
    def length(self) -> int:
        """Slots in a window."""
        with self._lock:
            return self._length

    @property
    def seconds(self) -> float:
        """How long a window is."""
        return self.length * self._slots.interval_seconds

    @property
    def _most(self) -> int:
        """How many probes of a pair there may be in a row, if it is twice as long as a window."""
        seconds = self._length * self._slots.interval_seconds
        return int(2 * seconds / SHORTEST_INTERVAL) + 2 * layout.PROBES_PER_TARGET

    def lengthen(self, factor: int = 2) -> None:
        """Make windows longer from now on. The next one may have no rows."""
        with self._lock:
            self._length *= factor

    def follow(self, names: Iterable[str], now: float) -> None:
        """Follow these agents alone."""
        with self._lock:
            old = self._agents
            self._agents = {name: old.get(name) or _Agent(now) for name in names}
            self._pairs = sum(agent.pairs for agent in self._agents.values())

    def ends_window(self, name: str, now: float) -> bool:
        """Return whether an answer to a question of now ends a window of the agent: only then are counts needed."""
        with self._lock:
            return self._is_last(self._slots.slot(name, now))

    def wants_histograms(self, name: str) -> bool:
        """Return whether the agent is asked for histograms: not the first time, when its number of pairs is not known.

        What is new cannot be diagnosed, so nothing is missed by that.
        """
        with self._lock:
            agent = self._agents.get(name)
            if agent is None or agent.last is None or agent.is_too_long:
                return False
            return agent.pairs <= MOST_OF_AGENT and self._pairs <= MOST_PAIRS

    def answered(self, name: str, asked_at: float, counts: AgentCounts) -> None:
        """Take the counts that an agent answered. Raises AskError when they cannot be true."""
        with self._lock:
            slot = self._slots.slot(name, asked_at)
            agent = self._agents.get(name)
            if agent is not None and self._is_last(slot) and slot > agent.last_slot:
                before = agent.pairs
                agent.answer(slot, self._length, counts, self._most)
                self._pairs += agent.pairs - before

    def failed(self, name: str, asked_at: float, failure: Failure) -> None:
        """Note that an agent had no usable answer. After one that was too long, no histograms are asked for."""
        with self._lock:
            if agent := self._agents.get(name):
                agent.failed_slot = self._slots.slot(name, asked_at)
                agent.is_too_long |= failure is Failure.TOO_LONG

    def next_end(self, now: float, after: int | None = None) -> int:
        """Return the last slot of the window that is open now; or of the next one after slot `after`.

        If more than one has ended since, it is the newest of them: the others are skipped.
        """
        with self._lock:
            open_slot = int(now // self._slots.interval_seconds)
            newest = open_slot // self._length * self._length - 1
            begin = open_slot if after is None else max(after + 1, newest)
            return (begin // self._length + 1) * self._length - 1

    def is_complete(self, slot: int) -> bool:
        """Return whether every agent has answered in `slot`, or failed."""
        with self._lock:
            return all(max(agent.last_slot, agent.failed_slot) >= slot for agent in self._agents.values())

    def close(self, slot: int, nodes: Sequence[Node], now: float) -> Window | None:
        """Return the window whose last slot is `slot`; None if nothing is known of it.

        `nodes` are in order of their zones.
        """
        with self._lock:
            rows = [self._take(node.name, slot, now) for node in nodes]
        if all(row is not None and not row.to for row in rows):
            return None
        positions = {node.name: position for position, node in enumerate(nodes)}
        return Window(tuple(nodes), [None if row is None else _row(row, positions.get) for row in rows])

    def _take(self, name: str, slot: int, now: float) -> Growth | None:
        agent = self._agents.get(name)
        if agent is None:
            return _NOTHING
        row = agent.rows.get(slot)
        agent.rows = {of: each for of, each in agent.rows.items() if of > slot}
        is_new = agent.last is None and now - agent.listed_at < NEW_SECONDS
        return _NOTHING if row is None and (is_new or agent.failed_slot < slot) else row

    def _is_last(self, slot: int) -> bool:
        return (slot + 1) % self._length == 0


def _row(of: Growth, position_of: Callable[[str], int | None]) -> Row:
    """Return a row of the window, its peers in the order of the nodes. Nodes that have left the list are left out."""
    found = sorted((peer, here) for here, to in enumerate(of.to) if (peer := position_of(to)) is not None)
    order = [here for _, here in found]
    sent, *results = [array("I", (counts[here] for here in order)) for counts in of.counters]
    samples = {kind: Samples.of(cells[here] for here in order) for kind, cells in of.samples.items()}
    return Row(
        array("I", (peer for peer, _ in found)),
        {result: counts for result, counts in zip(Result, results, strict=True) if any(counts)},
        samples.get(HistogramKind.RTT) or Samples.of(b"" for _ in order),
        of.health,
        samples.get(HistogramKind.NETWORK),
        samples.get(HistogramKind.DWELL),
        sent,
    )
