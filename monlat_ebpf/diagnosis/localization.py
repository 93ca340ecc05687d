"""The few faults that explain all cells of a table. Pure.

A greedy search for the most likely set of faults. The suspect that explains most is compared with what else could
explain the same cells: another element, or a fault of each pair by itself. If it is clearly the likeliest, it is named,
its cells are taken out, and the search goes on with the rest, so several faults are found at once. If not, the answer
is "undetermined", with the candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush, nsmallest
from itertools import chain, combinations, combinations_with_replacement
from math import exp, log
from typing import Final

from monlat_ebpf.diagnosis.accounts import Account, Accounts, Fault, is_seen_by_several, take_out
from monlat_ebpf.diagnosis.elements import NodeSuspect, Side, Suspect, ZoneSuspect, has_witnesses, node_in_common
from monlat_ebpf.diagnosis.likelihood import log_sum
from monlat_ebpf.diagnosis.pairs import CONFIDENT, MOST_CONFIDENT, PLAUSIBLE, pair_faults
from monlat_ebpf.diagnosis.tables import Table

MORE_THAN_CHANCE: Final = 1.5
"""A node is suspected when its row or its column has so many times what chance gives."""
ONE_SIDED: Final = 0.5
"""A row or column is suspected by itself when the other has less than this part of its symptoms."""
FEW_NODES: Final = 8
"""In a cluster of so many nodes, several sets of faults may explain the same."""
FEW_IN_ZONE: Final = 3
"""What lies between a zone of so many nodes and others may be these nodes as well."""
RIVALS: Final = 16
"""How many of the next best suspects are compared with the best one."""


def faults_of(table: Table, zones: Sequence[range]) -> list[Fault]:
    """Return all faults, those that explain most first. `zones` are the ranges of nodes of each zone.

    The cells that they explain are taken out of `table`. Where few nodes are involved, different sets of faults can
    explain the same cells: of three nodes that all lose packets to each other, any two may be broken. So there the
    search is repeated without each of its faults; a fault that it can do without is undetermined.
    """
    if not any(map(any, table.shown)):
        return []
    found = _search(table.copy(), zones)
    if len(table.peers) <= FEW_NODES or any(_is_of_few_nodes(fault.suspect) for fault in found):
        found = [_checked(fault, found, table, zones) for fault in found]
    for fault in found:
        take_out(fault, table)
    return found


def _is_of_few_nodes(suspect: Suspect | None) -> bool:
    return isinstance(suspect, ZoneSuspect) and min(len(suspect.first), len(suspect.second)) <= FEW_IN_ZONE


def _checked(fault: Fault, found: Sequence[Fault], table: Table, zones: Sequence[range]) -> Fault:
    """Return `fault`, undetermined if other faults explain the same nearly as well without it."""
    if fault.suspect is None:
        return fault
    instead = _search(table.copy(), zones, without=fault.suspect)
    advantage = sum(each.score for each in found) - sum(each.score for each in instead)
    if advantage >= log(CONFIDENT / (1 - CONFIDENT)):
        return fault
    known = {each.suspect for each in found}
    others = [
        suspect for each in instead for suspect in (each.suspect, *each.candidates) if suspect not in known and suspect
    ]
    likely = 1 / (1 + exp(-advantage))
    return Fault(None, fault.score, fault.rate, likely, fault.cells, (fault.suspect, *others))


def _search(table: Table, zones: Sequence[range], without: Suspect | None = None) -> list[Fault]:
    """Return all faults but `without`. The cells that they explain are taken out of `table`."""
    accounts = Accounts(table, zones)
    single = _zones_of_one_node(table, zones)
    found = []
    heap = [
        (-account.score, number, suspect)
        for number, suspect in enumerate(chain(_suspects(table, zones), single))
        if not _is_same(suspect, without) and (account := accounts.account(suspect)) is not None
    ]
    heapify(heap)
    while heap:
        before, number, suspect = heappop(heap)
        account = accounts.account(suspect)
        if account is None or not account.is_broad:
            continue
        if account.score < -before:  # some of its cells have been explained since
            heappush(heap, (-account.score, number, suspect))
            continue
        if not is_seen_by_several(suspect, account.rate, accounts.table):
            continue
        nearest = [other for _, _, other in nsmallest(RIVALS, heap)]
        fault = _decide(suspect, account, nearest, accounts, single)
        if fault is None:
            continue
        found.append(fault)
        if fault.suspect is not None and fault.suspect is not suspect:
            heappush(heap, (before, number, suspect))
        accounts.take_out(fault)
    return found + [fault for fault in pair_faults(accounts) if not _is_same(fault.suspect, without)]


def _suspects(table: Table, zones: Sequence[range]) -> Iterator[Suspect]:
    """Yield the nodes with clearly more of the symptom than chance gives, and all zone pairs."""
    rows = [sum(shown) for shown in table.shown]
    columns = [0] * len(rows)
    for peers, shown, in_row in zip(table.peers, table.shown, rows, strict=True):
        if in_row:
            for position in [i for i, count in enumerate(shown) if count]:
                columns[peers[position]] += shown[position]
    for node, (row, column) in enumerate(zip(rows, columns, strict=True)):
        sides = [Side.ROW] if table.own_row_only else [Side.BOTH]
        if not table.own_row_only and min(row, column) < ONE_SIDED * max(row, column):
            sides.append(Side.ROW if row > column else Side.COLUMN)
        if max(row, column) > max(MORE_THAN_CHANCE * table.by_chance(node), 1):
            yield from (suspect for side in sides if has_witnesses(suspect := NodeSuspect(node, side), table))
    if not table.own_row_only:
        for first, second in combinations_with_replacement(zones, 2):
            zone = ZoneSuspect(first, second)
            if has_witnesses(zone, table):
                yield zone


def _zones_of_one_node(table: Table, zones: Sequence[range]) -> dict[Suspect, NodeSuspect]:
    """Return the zone pairs that are never named, since all their pairs have a node in common; and these nodes."""
    found: dict[Suspect, NodeSuspect] = {}
    if not table.own_row_only:
        for first, second in combinations(zones, 2):
            if min(len(first), len(second)) == 1:
                zone = ZoneSuspect(first, second)
                node = node_in_common(zone, table)
                if node is not None:
                    found[zone] = NodeSuspect(node, Side.BOTH)
    return found


def _decide(
    suspect: Suspect,
    account: Account,
    nearest: Sequence[Suspect],
    accounts: Accounts,
    single: Mapping[Suspect, NodeSuspect],
) -> Fault | None:
    """Compare `suspect` with all that could explain the same cells. None: each pair by itself does it better.

    One of `single` is never named: it is undetermined whether it is broken, or its node.
    """
    known = {suspect: account}
    for other in nearest:
        of_other = accounts.account(other)
        if (
            of_other is not None
            and of_other.is_broad
            and not _is_same(suspect, other)
            and accounts.account(other, without=suspect) is None
        ):
            known[other] = of_other
    total = log_sum([0.0, *(each.gain for each in known.values())])
    likely = {each: exp(of_each.gain - total) for each, of_each in known.items()}
    best = max(likely, key=lambda each: likely[each])
    if likely[best] >= CONFIDENT and best not in single:
        return Fault(
            best, known[best].score, known[best].rate, min(likely[best], MOST_CONFIDENT), accounts.members(best)
        )
    if exp(-total) > likely[best]:
        return None
    plausible = tuple(each for each in known if likely[each] >= PLAUSIBLE)
    plausible += tuple(
        single[each] for each in plausible if each in single and not any(_is_same(single[each], x) for x in plausible)
    )
    return Fault(None, account.score, account.rate, likely[best], accounts.members(suspect), plausible)


def _is_same(one: Suspect | None, other: Suspect | None) -> bool:
    if isinstance(one, NodeSuspect) and isinstance(other, NodeSuspect):
        return one.node == other.node
    return one is not None and one == other
