"""The output of a diagnosis: what is broken, who sees it, and how sure that is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What an element is.

    NODE: a node with its link. PAIR: what lies between two nodes and nobody else. ZONE_PAIR: what lies between two
    zones, or within one (both names are the same). AGENT: the process that measures, not the network. UNDETERMINED:
    there are symptoms, and too few witnesses to name the element.
    """

    NODE = "node"
    PAIR = "pair"
    ZONE_PAIR = "zone_pair"
    AGENT = "agent"
    UNDETERMINED = "undetermined"


class Part(StrEnum):
    """What of an element is broken.

    OUT, IN: what a node sends, what it receives. STACK: its kernel. FORWARD, RETURN: from the first node (or zone) of
    a pair to the second, and back. STARVED: the agent runs too rarely. SILENT: it does not answer, though its node
    does.
    """

    OUT = "out"
    IN = "in"
    STACK = "stack"
    FORWARD = "forward"
    RETURN = "return"
    STARVED = "starved"
    SILENT = "silent"


class Symptom(StrEnum):
    """What is counted.

    LOSS: probes lost behind this host. HOST_LOSS: probes lost in it. SLOW: network RTT (RTT where the peer does not
    report) above the pair's past. DWELL: time in the answering kernel above its past. SKIPPED: probes that an agent
    was too late for. LATE: probes that it sent late. NO_ANSWER: agents without an answer.
    """

    LOSS = "loss"
    HOST_LOSS = "host_loss"
    SLOW = "slow"
    DWELL = "dwell"
    SKIPPED = "skipped"
    LATE = "late"
    NO_ANSWER = "no_answer"


STACK_SYMPTOMS: Final = frozenset({Symptom.HOST_LOSS, Symptom.DWELL})
"""What only the node's own agent sees: of its kernel."""


@dataclass(frozen=True, slots=True, order=True)
class Element:
    """What can be broken. `names` are of one node, of two nodes or zones in order, or of all candidates."""

    kind: Kind
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One symptom of an element.

    Of `witnesses` (peers of a node; pairs of nodes for the other kinds), `seen_by` see it. `shown` of `trials` had it,
    in the last `windows` windows. `usual_seconds` and `now_seconds` are medians of the pair whose rise is the middle
    one, None where time is not the symptom.
    """

    symptom: Symptom
    seen_by: int
    witnesses: int
    shown: int
    trials: int
    windows: int = 1
    usual_seconds: float | None = None
    now_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one window says. `confidence` is the probability of the element among all that could explain the symptoms.

    `parts` is empty where the direction is not known: a round-trip time does not tell it. `candidates` are the elements
    that explain the symptoms of an UNDETERMINED one.
    """

    element: Element
    parts: frozenset[Part]
    confidence: float
    evidence: tuple[Evidence, ...]
    candidates: tuple[Element, ...] = ()


def explains(element: Element, pair: Element, zones: Mapping[str, str]) -> bool:
    """Return whether a fault of `element` shows in the cells of `pair`. `zones` has the zone of each node."""
    if pair.kind is not Kind.PAIR:
        return False
    if element.kind is Kind.ZONE_PAIR:
        first, second = sorted(zones.get(name, "") for name in pair.names)
        return element.names == (first, second)
    return element.kind is Kind.NODE and element.names[0] in pair.names
