"""Probes that waited on this host for the link address of the next hop (ARP, NDP), and peers that may soon do so."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Final

from monlat_ebpf.host.next_hops import NextHops, NextHopState
from monlat_ebpf.model import Address, Family, Result
from monlat_ebpf.probing.ledger import NO_NEIGHBOUR, InFlight, Outcome
from monlat_ebpf.probing.targets import Target

_LOG = logging.getLogger(__name__)

TABLE_FULL: Final = {Family.IPV4: "arp_table_full", Family.IPV6: "ndp_table_full"}
"""The error of a probe for whose next hop the kernel had no room (gc_thresh3)."""

SILENCE_NS: Final = 1_500_000_000
"""A target with a probe unanswered for so long does not answer. Its next hop keeps its link address for 3 s at least:
so long the kernel asks for it, one second apart, before it gives up."""

_NO_ENTRY: Final = (NextHopState.ABSENT, NextHopState.NO_ROOM)


def explain_loss(
    target: Target, probe: InFlight, outcome: Outcome, next_hop_state: Callable[[Address], NextHopState]
) -> Outcome:
    """Return `outcome`, a loss on this host without a known cause, or what it is if the next hop caused it.

    A probe waits for the link address of its next hop until the kernel knows it, or gives up after 3 s. Ask the kernel,
    unless it said after this probe had been sent that it does not know it. An entry that is missing altogether was
    removed by the kernel if it was unresolved before.
    """
    if outcome.send_delay_ns is None and probe.sent_ns > target.unresolved_ns:
        state = next_hop_state(target.address)
        if state is NextHopState.UNRESOLVED or (target.was_unresolved and state in _NO_ENTRY):
            target.unresolved_ns = time.monotonic_ns()
        elif state is NextHopState.NO_ROOM:
            return outcome._replace(error=TABLE_FULL[target.key.family])
    if probe.sent_ns <= target.unresolved_ns:
        return outcome._replace(result=Result.UNREACHABLE, error=NO_NEIGHBOUR)
    return outcome


class TableWatch:
    """Logs which of the kernel's tables of link addresses have too little room for the next hops to the peers."""

    def __init__(self) -> None:
        self._hops: dict[Address, tuple[int, bytes] | None] = {}  # as NextHops.next_hop gives them
        self._warned: set[Family] = set()

    def watch(self, addresses: Iterable[Address]) -> None:
        """Ask the kernel for the next hops that are not known yet, and log a table that is too small.

        An address without a route is asked about again: its route may come later, as at the start of a node.
        """
        known = self._hops
        with closing(NextHops()) as hops:
            self._hops = {each: known.get(each) or hops.next_hop(each) for each in addresses}
            tables = hops.tables()
        needed = set(filter(None, self._hops.values()))
        for family, table in tables.items():
            length = 4 if family is Family.IPV4 else 16
            count = sum(len(packed) == length for _, packed in needed)
            if 5 * count < 4 * table.largest:
                self._warned.discard(family)
            elif family not in self._warned:
                self._warned.add(family)
                _LOG.warning(
                    "%d next hops of peers need entries in the kernel's %s table, which holds %d for all namespaces of "
                    "the host, and has %d now; raise net.%s.neigh.default.gc_thresh3 and gc_thresh2",
                    count,
                    "ARP" if family is Family.IPV4 else "NDP",
                    table.largest,
                    table.entries,
                    family,
                )
