"""The elements that can be at fault, each with the cells that see it. Pure; nodes are indices of a window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from monlat_ebpf.diagnosis.findings import Element, Kind
from monlat_ebpf.diagnosis.tables import Span, Table
from monlat_ebpf.diagnosis.window import Window

Pair = tuple[int, int]
FEWEST_WITNESSES: Final = 2
"""Peers, or pairs of nodes. One witness cannot tell a node from the pair, or from the witness."""


class Side(IntEnum):
    """Which cells see a node: those of its own row, those of its column, or both."""

    ROW = 0
    COLUMN = 1
    BOTH = 2


class Suspect(ABC):
    """An element and its cells, in spans of rows."""

    @abstractmethod
    def spans(self, table: Table) -> Iterator[Span]:
        """Yield the cells that see the element."""

    @abstractmethod
    def contains(self, sender: int, peer: int) -> bool:
        """Return whether the cell from `sender` to `peer` sees the element."""

    @abstractmethod
    def element(self, window: Window) -> Element:
        """Return the element by its names."""

    @abstractmethod
    def witness(self, sender: int, peer: int) -> Pair:
        """Return who sees the element in this cell: a peer (twice), or a pair of nodes in order."""


@dataclass(frozen=True, slots=True)
class NodeSuspect(Suspect):
    """A node, seen by the cells on `side`."""

    node: int
    side: Side

    def spans(self, table: Table) -> Iterator[Span]:
        """Yield the cells that see the element."""
        if self.side is not Side.COLUMN:
            yield self.node, 0, len(table.peers[self.node])
        if self.side is not Side.ROW:
            yield from table.column(self.node)

    def contains(self, sender: int, peer: int) -> bool:
        """Return whether the cell sees the element."""
        return (self.side is not Side.COLUMN and sender == self.node) or (
            self.side is not Side.ROW and peer == self.node
        )

    def element(self, window: Window) -> Element:
        """Return the element by its names."""
        return Element(Kind.NODE, (window.nodes[self.node].name,))

    def witness(self, sender: int, peer: int) -> Pair:
        """Return who sees the element in this cell."""
        other = peer if sender == self.node else sender
        return other, other


@dataclass(frozen=True, slots=True)
class ZoneSuspect(Suspect):
    """What lies between the zones of two ranges of nodes, or within a zone if they are the same."""

    first: range
    second: range

    def spans(self, table: Table) -> Iterator[Span]:
        """Yield the cells that see the element."""
        yield from self._from(self.first, self.second, table)
        if self.first != self.second:
            yield from self._from(self.second, self.first, table)

    @staticmethod
    def _from(senders: range, receivers: range, table: Table) -> Iterator[Span]:
        for sender in senders:
            peers = table.peers[sender]
            yield sender, bisect_left(peers, receivers.start), bisect_left(peers, receivers.stop)

    def contains(self, sender: int, peer: int) -> bool:
        """Return whether the cell sees the element."""
        return (sender in self.first and peer in self.second) or (sender in self.second and peer in self.first)

    def element(self, window: Window) -> Element:
        """Return the element by its names."""
        names = (window.nodes[self.first.start].zone, window.nodes[self.second.start].zone)
        return Element(Kind.ZONE_PAIR, (min(names), max(names)))

    def witness(self, sender: int, peer: int) -> Pair:
        """Return who sees the element in this cell."""
        return min(sender, peer), max(sender, peer)


@dataclass(frozen=True, slots=True)
class PairSuspect(Suspect):
    """What lies between two nodes and nobody else."""

    first: int
    second: int

    def spans(self, table: Table) -> Iterator[Span]:
        """Yield the cells that see the element."""
        for sender, peer in ((self.first, self.second), (self.second, self.first)):
            position = table.position(sender, peer)
            if position is not None:
                yield sender, position, position + 1

    def contains(self, sender: int, peer: int) -> bool:
        """Return whether the cell sees the element."""
        return (sender, peer) in ((self.first, self.second), (self.second, self.first))

    def element(self, window: Window) -> Element:
        """Return the element by its names."""
        names = (window.nodes[self.first].name, window.nodes[self.second].name)
        return Element(Kind.PAIR, (min(names), max(names)))

    def witness(self, sender: int, peer: int) -> Pair:
        """Return who sees the element in this cell."""
        return min(sender, peer), max(sender, peer)


def has_witnesses(suspect: Suspect, table: Table, but: Suspect | None = None) -> bool:
    """Return whether enough witnesses see the suspect with trials to tell it from each of them.

    Cells of `but` do not count.
    A node is no witness of its own network: if only its own agent answers, the others may be what is broken. And pairs
    that all have one node in common cannot tell what is between two zones from that node.
    """
    if isinstance(suspect, NodeSuspect) and not table.own_row_only and not _is_seen_by_others(suspect.node, table):
        return False
    seen: set[Pair] = set()
    common: set[int] | None = None
    for witness in _witnesses(suspect, table, but):
        seen.add(witness)
        common = set(witness) if common is None else common & set(witness)
        if len(seen) >= FEWEST_WITNESSES and not common:
            return True
    return False


def node_in_common(suspect: ZoneSuspect, table: Table) -> int | None:
    """Return the node that all pairs of the suspect have in common, if it has peers beyond them; else None.

    What is between two zones of which one has a single node cannot be told from that node, as far as these pairs go. A
    node whose pairs are all among them is meant either way.
    """
    seen = set(_witnesses(suspect, table))
    if len(seen) < FEWEST_WITNESSES:
        return None
    for node in set.intersection(*map(set, seen)):
        of_node = {NodeSuspect(node, Side.BOTH).witness(*pair)[0] for pair in seen}
        if any(witness[0] not in of_node for witness in _witnesses(NodeSuspect(node, Side.BOTH), table)):
            return node
    return None


def _witnesses(suspect: Suspect, table: Table, but: Suspect | None = None) -> Iterator[Pair]:
    """Yield the witness of each cell with trials that is not of `but`."""
    for sender, start, stop in suspect.spans(table):
        peers = table.peers[sender]
        for position in range(start, stop):
            if table.trials[sender][position] and (but is None or not but.contains(sender, peers[position])):
                yield suspect.witness(sender, peers[position])


def _is_seen_by_others(node: int, table: Table) -> bool:
    return any(table.trials[sender][position] for sender, position, _ in table.column(node))
