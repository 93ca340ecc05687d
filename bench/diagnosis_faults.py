"""What bench/diagnosis breaks: the faults, what they do to each cell, and what a diagnosis should call them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from monlat_ebpf.diagnosis.findings import Element, Kind, Part

KINDS = (
    "node out",
    "node in",
    "node both",
    "node stack",
    "pair one way",
    "pair both",
    "zone pair",
    "two nodes",
    "node and pair",
    "starved agent",
)
REACHES = 0.9  # the part of an element's cells that its fault reaches: a fault need not hit every hash of a bond
UNEVEN = (0.6, 1.4)  # the factor between the severity of a fault and that in a cell
UNANSWERED_FROM = 0.9  # a node that loses this part of its packets does not answer the one who asks for results


class Mode(StrEnum):
    LOSS = "loss"
    LATENCY = "latency"


@dataclass(slots=True)
class Effect:
    """What faults do to a cell: probability of loss on the way and back and in the host, and seconds added."""

    forward: float = 0.0
    back: float = 0.0
    host: float = 0.0
    delay: float = 0.0


@dataclass(slots=True)
class Broken:
    """What is broken at one time. `effects` are by (sender, peer); the others are by node."""

    truth: dict[Element, frozenset[Part] | None] = field(default_factory=dict)
    effects: dict[tuple[int, int], Effect] = field(default_factory=dict)
    dwell_delay: dict[int, float] = field(default_factory=dict)
    skipped: dict[int, float] = field(default_factory=dict)
    unanswered: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ground:
    """What faults need to know of a cluster: names, zones, who probes whom, and the usual RTT of each pair."""

    names: list[str]
    zones: list[str]
    peers: list[list[int]]
    rtt: dict[tuple[int, int], float]


def broken(kind: str, mode: Mode, severity: float, ground: Ground, random: Random) -> Broken:
    """Return what faults of this kind do. Latency of severity 2 doubles the median RTT of the cells it reaches."""
    result = Broken()
    first, second = random.sample(range(len(ground.names)), 2)
    match kind:
        case "node out" | "node in" | "node both" | "node stack":
            _break_node(first, kind.split()[1], mode, severity, ground, result)
        case "two nodes":
            for node in (first, second):
                _break_node(node, random.choice(["out", "in", "both"]), mode, severity, ground, result)
        case "pair one way" | "pair both":
            _break_pair(first, random.choice(ground.peers[first]), kind == "pair both", mode, severity, ground, result)
        case "node and pair":
            _break_node(first, "both", mode, severity, ground, result)
            _make_uneven(result, random)
            apart = [(a, b) for a in range(len(ground.names)) if a != first for b in ground.peers[a] if b != first]
            _break_pair(*random.choice(apart), True, mode, severity, ground, result)
            return result
        case "zone pair":
            _break_zones(mode, severity, ground, random, result)
        case "starved agent":
            _starve(first, severity, ground, random, result)
        case _:
            raise ValueError(kind)
    _make_uneven(result, random)
    return result


def is_undecidable(result: Broken, ground: Ground) -> bool:
    """Return whether another kind of fault would show in the same pairs, so that no algorithm can tell the two apart.

    That is so when a node's or a zone pair's fault reaches a single pair, or the pairs that a zone pair's fault reaches
    have a node in common that has other peers; and for a pair with an end that has one other peer. Losses in a host
    tell the node. Two faults at once are never counted, though they may be undecidable.
    """
    reached = {
        frozenset(cell)
        for cell, effect in result.effects.items()
        if effect.forward or effect.back or effect.host or effect.delay
    }
    if len(result.truth) != 1 or not reached or any(effect.host for effect in result.effects.values()):
        return False
    (element,) = result.truth
    if element.kind is Kind.PAIR:
        return any(len(ground.peers[node]) <= 2 for pair in reached for node in pair)
    if element.kind is Kind.ZONE_PAIR:
        common = frozenset.intersection(*reached)
        return any(len(ground.peers[node]) > len(reached) for node in common)
    return element.kind is Kind.NODE and len(reached) == 1


def _make_uneven(result: Broken, random: Random) -> None:
    """Let the faults of many cells reach most of them, and not all equally. Both cells of a pair are hit alike."""
    if len(result.effects) <= 2:
        return
    for cell in list(result.effects):
        if cell[0] < cell[1]:
            factor = random.uniform(*UNEVEN) if random.random() < REACHES else 0.0
            for effect in (result.effects.get(cell), result.effects.get(cell[::-1])):
                if effect is not None:
                    effect.forward = uneven(effect.forward, factor)
                    effect.back = uneven(effect.back, factor)
                    effect.host = uneven(effect.host, factor)
                    effect.delay *= factor


def uneven(probability: float, factor: float) -> float:
    """Return a probability changed by a factor; all that is lost stays lost."""
    return probability if probability >= 1 else min(probability * factor, 1.0)


def _break_node(node: int, part: str, mode: Mode, severity: float, ground: Ground, result: Broken) -> None:
    parts = {"out": {Part.OUT}, "in": {Part.IN}, "both": {Part.OUT, Part.IN}, "stack": {Part.STACK}}[part]
    known = mode is Mode.LOSS or part == "stack"
    result.truth[Element(Kind.NODE, (ground.names[node],))] = frozenset(parts) if known else None
    cells = [(node, peer) for peer in ground.peers[node]] + [(peer, node) for peer in ground.peers[node]]
    delay = _delay(severity, [ground.rtt[cell] for cell in cells])
    if part == "stack" and mode is Mode.LATENCY:
        result.dwell_delay[node] = delay
        return
    for sender, peer in cells:
        effect = result.effects.setdefault((sender, peer), Effect())
        if mode is Mode.LATENCY:
            effect.delay += delay
        elif part == "stack":
            if sender == node:
                effect.host = severity
            else:
                effect.forward = severity
        else:
            away = part in ("out", "both"), part in ("in", "both")
            forward, back = away if sender == node else away[::-1]
            effect.forward = max(effect.forward, severity * forward)
            effect.back = max(effect.back, severity * back)
    if mode is Mode.LOSS:
        result.unanswered[node] = 1.0 if severity >= UNANSWERED_FROM else severity**2 / 2


def _break_pair(
    first: int, second: int, is_both: bool, mode: Mode, severity: float, ground: Ground, result: Broken
) -> None:
    names = sorted((ground.names[first], ground.names[second]))
    parts = {Part.FORWARD if ground.names[first] == names[0] else Part.RETURN}
    known = mode is Mode.LOSS
    both = frozenset({Part.FORWARD, Part.RETURN})
    result.truth[Element(Kind.PAIR, (names[0], names[1]))] = (both if is_both else frozenset(parts)) if known else None
    _break_cells([(first, second)], is_both, mode, severity, ground, result)


def _break_zones(mode: Mode, severity: float, ground: Ground, random: Random, result: Broken) -> None:
    first, second = random.sample(sorted(set(ground.zones)), 2)
    names = (min(first, second), max(first, second))
    known = mode is Mode.LOSS
    cells = [
        (a, b)
        for a, peers in enumerate(ground.peers)
        for b in peers
        if ground.zones[a] == first and ground.zones[b] == second
    ]
    if len(cells) == 1:  # zones of one node each
        _break_pair(*cells[0], True, mode, severity, ground, result)
        return
    result.truth[Element(Kind.ZONE_PAIR, names)] = frozenset({Part.FORWARD, Part.RETURN}) if known else None
    _break_cells(cells, True, mode, severity, ground, result)


def _break_cells(
    cells: list[tuple[int, int]], is_both: bool, mode: Mode, severity: float, ground: Ground, result: Broken
) -> None:
    """Break what lies on the way of the requests of `cells`, and on the way back if `is_both`."""
    delay = _delay(severity, [ground.rtt[cell] for cell in cells])
    for first, second in cells:
        there = result.effects.setdefault((first, second), Effect())
        back = result.effects.setdefault((second, first), Effect())
        if mode is Mode.LATENCY:
            there.delay += delay
            back.delay += delay
        else:
            there.forward = back.back = max(there.forward, severity)
            if is_both:
                there.back = back.forward = max(there.back, severity)


def _starve(node: int, severity: float, ground: Ground, random: Random, result: Broken) -> None:
    """Let an agent run too rarely. In half of the cases its own numbers suffer too, as those of user space do."""
    result.truth[Element(Kind.AGENT, (ground.names[node],))] = frozenset({Part.STARVED})
    result.skipped[node] = severity
    result.unanswered[node] = severity / 2
    distorts = random.random() < 0.5
    for peer in ground.peers[node]:
        delay = ground.rtt[node, peer] if distorts else 0.0
        result.effects[node, peer] = Effect(host=0.05 if distorts else 0.0, delay=delay)


def _delay(severity: float, usual: list[float]) -> float:
    """Return the seconds that make the median of `usual` longer by the factor `severity`."""
    return (severity - 1) * sorted(usual)[len(usual) // 2]
