"""Capabilities that loading needs, from bits (linux/capability.h: NET_RAW 13, SYS_ADMIN 21, PERFMON 38, BPF 39)."""

from __future__ import annotations

import pytest

from monlat_ebpf.host.rights import effective_capabilities, missing_capabilities


@pytest.mark.parametrize(
    ("bits", "missing"),
    [
        ((38, 39), ()),
        ((21,), ()),
        ((13, 39), ("CAP_PERFMON",)),
        ((13, 38), ("CAP_BPF",)),
        ((13,), ("CAP_BPF", "CAP_PERFMON")),
    ],
)
def test_missing_capabilities(bits: tuple[int, ...], missing: tuple[str, ...]) -> None:
    """BPF and PERFMON together are enough, and so is SYS_ADMIN alone; missing ones are named."""
    assert missing_capabilities(sum(1 << bit for bit in bits)) == missing


def test_effective_capabilities_of_a_status() -> None:
    """The effective set is read, not another set, whatever the name of the process is."""
    others = "Name:\tCapEff: 1\nUid:\t0\t0\nCapInh:\t0000000000000001\nCapPrm:\t0000000000000002\n"
    status = others + "CapEff:\t000000c000002000\n"
    assert effective_capabilities(status) == 1 << 39 | 1 << 38 | 1 << 13
