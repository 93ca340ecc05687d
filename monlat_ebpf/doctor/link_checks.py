"""Checks of the kernel's tables of link addresses: pure functions of the facts."""

from __future__ import annotations

from monlat_ebpf.doctor.check import Check, Status
from monlat_ebpf.doctor.facts import Facts


def link_addresses(facts: Facts) -> Check:
    """Check that the ARP and NDP tables have room for more.

    How often a table was full since the machine started is found, but no problem of today.
    """
    why = "every peer on the same link takes an entry; without room, packets to any peer are dropped here"
    if not facts.link_tables:
        return Check("ARP and NDP tables", Status.SKIP, "not checked: the kernel does not tell their size", why)
    full = [family for family, table in facts.link_tables.items() if table.is_nearly_full]
    found = ", ".join(
        f"{family}: {table.entries} entries of {table.largest}, {table.overflows} times full since the start"
        for family, table in facts.link_tables.items()
    )
    if full:
        keys = " and ".join(f"net.{family}.neigh.default.gc_thresh3" for family in full)
        return Check("ARP and NDP tables", Status.WARN, found, why, f"raise {keys} on the host (gc_thresh2 as well)")
    return Check("ARP and NDP tables", Status.OK, found, why)
