"""The pairs that are at fault by themselves: what no node and no zone pair explains. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from math import exp, inf, log
from typing import Final

from monlat_ebpf.diagnosis.accounts import Account, Accounts, Fault, is_seen_by_several
from monlat_ebpf.diagnosis.elements import NodeSuspect, PairSuspect, Side, Suspect, ZoneSuspect, has_witnesses
from monlat_ebpf.diagnosis.findings import Symptom
from monlat_ebpf.diagnosis.likelihood import (
    MOST_RATE,
    OWN_RATE,
    WEIGHTS,
    at_least,
    log_mixture,
    log_ratio,
    log_sum,
    rate_parameters,
)
from monlat_ebpf.diagnosis.members import Members

CONFIDENT: Final = 0.95
"""An element is named when it is at least this likely among all that could explain the same cells."""
PLAUSIBLE: Final = 0.05
"""A candidate of an undetermined fault is at least this likely."""
MOST_CONFIDENT: Final = 0.999
MOST_PAIRS: Final = 200
"""More pairs than this in a window, without a common element, are one undetermined fault."""
MOST_OTHERS: Final = 8
"""Of a suspect with more other witnesses than these, an account by itself says enough."""
COMMON_NODE: Final = 3
"""So many pairs with a node in common are one undetermined fault: faults that came by chance would not share a node."""
COMMON_ZONES: Final = 1e-3
"""Pairs between the same two zones are one undetermined fault when so many of all faulty pairs are between these by
chance in fewer windows than this."""


def pair_faults(accounts: Accounts) -> list[Fault]:
    """Return the pairs that are at fault, and undetermined faults where that does not name anything."""
    table = accounts.table
    ratios: dict[tuple[int, int], list[float]] = {}
    for sender, (peers, shown, trials) in enumerate(zip(table.peers, table.shown, table.trials, strict=True)):
        for position in [i for i, count in enumerate(shown) if count]:
            if shown[position] >= table.least_rate * trials[position]:
                ratio = log_ratio(table.cell(sender, position), *OWN_RATE)
                if ratio > 0:
                    peer = peers[position]
                    ratios.setdefault((min(sender, peer), max(sender, peer)), []).append(ratio)
    scores = {PairSuspect(*pair): _score(of_cells) - accounts.pair_cost for pair, of_cells in ratios.items()}
    left = sorted((pair for pair, score in scores.items() if score > 0), key=lambda pair: -scores[pair])
    if len(left) > MOST_PAIRS:
        return [_undetermined(left, scores, accounts, ())]
    faults = []
    while left:
        ends = Counter(node for pair in left for node in (pair.first, pair.second))
        most = max(ends.values())
        if most < COMMON_NODE:
            break
        nodes = sorted(node for node, count in ends.items() if count == most)  # all, so that no order decides
        common = [pair for pair in left if {pair.first, pair.second} & set(nodes)]
        left = [pair for pair in left if pair not in common]
        faults.append(
            _undetermined(common, scores, accounts, tuple(NodeSuspect(node, _side(accounts)) for node in nodes))
        )
    between_zones, left = _between_zones(left, scores, accounts)
    faults += between_zones
    known: dict[Suspect, Account | None] = {}
    faults += [_fault(pair, scores[pair], accounts, known) for pair in left]
    if table.symptom is Symptom.DWELL:  # the time in a kernel is not a pair's
        faults = [fault for fault in faults if fault.suspect is None]
    for fault in faults:
        accounts.take_out(fault)
    return faults


def _between_zones(
    left: Sequence[PairSuspect], scores: Mapping[PairSuspect, float], accounts: Accounts
) -> tuple[list[Fault], list[PairSuspect]]:
    """Return a fault for two zones that more of the pairs are between than by chance, and the pairs that are not.

    What is between the zones is a candidate, though too few of its pairs show it: a rise may be just large enough to be
    seen in some of them.
    """
    between: dict[ZoneSuspect, list[PairSuspect]] = {}
    for pair in left:
        for zones in accounts.zone_pairs_of(pair):
            between.setdefault(zones, []).append(pair)
    faults, others = [], list(left)
    for zones, pairs in between.items():
        if at_least(len(pairs), len(left), accounts.share_of(zones)) < COMMON_ZONES:
            faults.append(_undetermined(pairs, scores, accounts, (zones,)))
            others = [pair for pair in others if pair not in pairs]
    return faults, others


def _undetermined(
    pairs: Sequence[PairSuspect],
    scores: Mapping[PairSuspect, float],
    accounts: Accounts,
    candidates: tuple[Suspect, ...],
) -> Fault:
    cells = Members(accounts.table, chain.from_iterable(pair.spans(accounts.table) for pair in pairs))
    return Fault(None, sum(scores[pair] for pair in pairs), cells.rate, 0.0, cells, candidates)


def _fault(pair: PairSuspect, score: float, accounts: Accounts, known: dict[Suspect, Account | None]) -> Fault:
    """Return the fault of a pair; undetermined if one of its nodes may be the cause, or has too few other witnesses.

    A single other peer that reaches a node does not acquit it: of two flows, a broken cable of a bond hits one.
    """
    ends = [NodeSuspect(node, _side(accounts)) for node in (pair.first, pair.second)]
    witnessed = [end for end in ends if has_witnesses(end, accounts.table, but=pair)]
    for end in witnessed:
        if end not in known:
            known[end] = accounts.alternative(end)
    gains = [
        each.gain
        for end in witnessed
        if (each := known[end]) is not None and is_seen_by_several(end, each.rate, accounts.table)
    ]
    cells = accounts.members(pair)
    gains += [_beyond(end, pair, cells.rate, accounts) for end in witnessed]
    of_zones = {zone: _beyond(zone, pair, cells.rate, accounts) for zone in accounts.zone_pairs_of(pair)}
    gains += of_zones.values()
    likely = min(exp(-log_sum([0.0, *gains])), MOST_CONFIDENT)
    needed = 1 if accounts.table.own_row_only else len(ends)
    if len(witnessed) >= needed and likely >= CONFIDENT:
        return Fault(pair, score, cells.rate, likely, cells)
    zones = [zone for zone, gain in of_zones.items() if gain >= log(PLAUSIBLE)]
    return Fault(None, score, cells.rate, 1 / (1 + len(ends) + len(zones)), cells, (*ends, *zones, pair))


def _beyond(suspect: Suspect, pair: PairSuspect, rate: float, accounts: Accounts) -> float:
    """Return the log likelihood ratio of a fault of `suspect` that is seen best by this pair, to one of the pair.

    The other cells of the suspect decide: whether they show a little of it too, or whether its fault may miss them by
    chance. With many other witnesses, it is never missed by all.
    """
    parameters = rate_parameters(min(max(rate, 1e-6), MOST_RATE))
    others: dict[tuple[int, int], float] = {}
    for sender, start, stop in suspect.spans(accounts.table):
        peers, trials = accounts.table.peers[sender], accounts.table.trials[sender]
        for position in range(start, stop):
            if trials[position] and not pair.contains(sender, peers[position]):
                witness = suspect.witness(sender, peers[position])
                ratio = log_ratio(accounts.table.cell(sender, position), *parameters)
                others[witness] = others.get(witness, 0.0) + ratio
        if len(others) > MOST_OTHERS:
            return -inf
    if not others:  # what is between two zones of one node each is the pair
        return -inf
    reached = (
        log(weight * breadth) + sum(log_mixture(ratio, breadth) for ratio in others.values())
        for breadth, weight in WEIGHTS.items()
    )
    cost = accounts.node_cost if isinstance(suspect, NodeSuspect) else accounts.zone_cost
    return log_sum(reached) + accounts.pair_cost - cost


def _side(accounts: Accounts) -> Side:
    return Side.ROW if accounts.table.own_row_only else Side.BOTH


def _score(ratios: Sequence[float]) -> float:
    """Return the log likelihood ratio of a pair: usually both its cells show the fault, sometimes one does."""
    if len(ratios) == 1:
        return ratios[0] + log(0.2)
    return log_sum((sum(ratios) + log(0.8), ratios[0] + log(0.1), ratios[1] + log(0.1)))
