"""The evidence of a fault: who sees it, how much slower it is, and in which direction packets are lost. Pure."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from statistics import median_low
from typing import Final

from monlat_ebpf.diagnosis.accounts import Fault
from monlat_ebpf.diagnosis.elements import NodeSuspect, PairSuspect, Suspect
from monlat_ebpf.diagnosis.findings import STACK_SYMPTOMS, Element, Evidence, Finding, Kind, Part, Symptom
from monlat_ebpf.diagnosis.history import Losses
from monlat_ebpf.diagnosis.likelihood import MOST_RATE, log_ratio, rate_parameters
from monlat_ebpf.diagnosis.window import Window

ONE_WAY: Final = 0.25
"""Losses are of one direction when the other one has less than this part of the losses of that direction."""
FEWEST_DIRECTED: Final = 3
LEAST_DIRECTED: Final = 0.1
"""The direction is known when so many losses, and this part of them, have a direction: most losses of a node that is
cut off completely have none, because no report passes."""

LossesOf = Callable[[int, int], Losses]
"""Return the losses of a cell, by sender and peer."""
RisesOf = Callable[[int, int], tuple[float, float]]
"""Return the medians in seconds of a cell, by sender and position in its row: the usual one, and that of the window."""


def finding(
    fault: Fault,
    symptom: Symptom,
    windows: int,
    window: Window,
    losses: LossesOf | None = None,
    rises: RisesOf | None = None,
) -> Finding:
    """Return the finding of a fault. `losses` tell directions, `rises` how much slower it is; None: not of interest."""
    evidence = _evidence(fault, symptom, windows, rises)
    if fault.suspect is None:
        candidates = tuple(sorted({each.element(window) for each in fault.candidates}))
        names = tuple(sorted({name for each in candidates for name in each.names}))
        element = Element(Kind.UNDETERMINED, names)
        return Finding(element, frozenset(), fault.confidence, (evidence,), candidates)
    element = fault.suspect.element(window)
    if symptom in STACK_SYMPTOMS:
        parts = frozenset({Part.STACK}) if element.kind is Kind.NODE else frozenset()
    else:
        parts = _lost_parts(fault, fault.suspect, element, window, losses) if losses is not None else frozenset()
    return Finding(element, parts, fault.confidence, (evidence,))


def _evidence(fault: Fault, symptom: Symptom, windows: int, rises: RisesOf | None) -> Evidence:
    parameters = rate_parameters(min(max(fault.rate, 1e-6), MOST_RATE))
    seen: dict[int, float] = defaultdict(float)  # by both ends in one number: there may be half a million
    for sender, _, peer, cell in fault.cells:
        one, other = (
            (min(sender, peer), max(sender, peer)) if fault.suspect is None else fault.suspect.witness(sender, peer)
        )
        seen[one << 32 | other] += log_ratio(cell, *parameters)
    shown, trials = fault.cells.sums()
    usual, now = (None, None) if rises is None else _middle(fault, rises)
    return Evidence(symptom, sum(ratio > 0 for ratio in seen.values()), len(seen), shown, trials, windows, usual, now)


def _middle(fault: Fault, rises: RisesOf) -> tuple[float | None, float | None]:
    """Return the medians of the cell whose rise is the middle one of those with the symptom."""
    factors = array("d", (now / usual for usual, now in _risen(fault, rises)))
    if not factors:
        return None, None
    return next(islice(_risen(fault, rises), factors.index(median_low(factors)), None))


def _risen(fault: Fault, rises: RisesOf) -> Iterator[tuple[float, float]]:
    for sender, position, _, cell in fault.cells:
        if cell.shown:
            yield rises(sender, position)


def _lost_parts(fault: Fault, suspect: Suspect, element: Element, window: Window, losses: LossesOf) -> frozenset[Part]:
    """Return the directions in which an element loses packets, empty if they are not known."""
    lost = away = towards = 0
    for sender, _, peer, cell in fault.cells:
        if not cell.shown:
            continue
        all_lost, forward, back = losses(sender, peer)
        lost += all_lost
        if _is_away(sender, peer, suspect, element, window):
            away, towards = away + forward, towards + back
        else:
            away, towards = away + back, towards + forward
    if away + towards < max(FEWEST_DIRECTED, LEAST_DIRECTED * lost):
        return frozenset()
    out, into = (Part.OUT, Part.IN) if isinstance(suspect, NodeSuspect) else (Part.FORWARD, Part.RETURN)
    return frozenset(
        part for part, here, there in ((out, away, towards), (into, towards, away)) if here >= ONE_WAY * there and here
    )


def _is_away(sender: int, peer: int, suspect: Suspect, element: Element, window: Window) -> bool:
    """Return whether requests of this cell leave the node, or go from the first name of the pair to the second."""
    if isinstance(suspect, NodeSuspect):
        return sender == suspect.node
    node = window.nodes[sender]
    if element.names[0] == element.names[1]:  # within a zone, all directions are one
        return True
    return (node.name if isinstance(suspect, PairSuspect) else node.zone) == element.names[0]
