"""Capability masks (linux/capability.h: NET_RAW is bit 13, SYS_ADMIN 21, PERFMON 38, BPF 39)."""

from __future__ import annotations

import pytest

from monlat_ebpf.host import capabilities


def test_names_and_bits_are_those_of_the_kernel() -> None:
    """Four names map to their bits, and back."""
    mask = 1 << 13 | 1 << 21 | 1 << 38 | 1 << 39
    assert capabilities.names_of(mask) == ("CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_PERFMON", "CAP_BPF")
    assert capabilities.mask_of(capabilities.names_of(mask)) == mask
    assert capabilities.names_of(0) == ()


def test_capability_of_a_newer_kernel_is_shown_by_number() -> None:
    """A bit without a known name is not hidden."""
    assert capabilities.names_of(1 << 41) == ("CAP_41",)


def test_effective_set_is_read_from_the_status_text() -> None:
    """The line CapEff is read, not the other sets, and not a process name that looks like it."""
    text = "Name:\tCapEff: 1\nCapInh:\t1\nCapPrm:\t000001ffffffffff\nCapEff:\t000000c000002000\nCapBnd:\t1ff\n"
    assert capabilities.effective(text) == 1 << 39 | 1 << 38 | 1 << 13


def test_unknown_name_is_an_error() -> None:
    """A misspelt capability is never ignored."""
    with pytest.raises(ValueError, match="CAP_NETRAW"):
        capabilities.mask_of(["CAP_NETRAW"])


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
def test_loading_needs_bpf_and_perfmon_or_sys_admin(bits: tuple[int, ...], missing: tuple[str, ...]) -> None:
    """BPF with PERFMON is enough, SYS_ADMIN alone too; what is missing is named."""
    assert capabilities.missing_to_load(sum(1 << bit for bit in bits)) == missing
