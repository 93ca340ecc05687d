"""Which capabilities a mask means."""

from __future__ import annotations

import pytest

from monlat_ebpf.host import capabilities


def test_names_and_masks_are_those_of_the_kernel() -> None:
    """NET_RAW is bit 13, SYS_ADMIN 21, PERFMON 38, BPF 39 (linux/capability.h)."""
    mask = 1 << 13 | 1 << 21 | 1 << 38 | 1 << 39
    assert capabilities.names_of(mask) == ("CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_PERFMON", "CAP_BPF")
    assert capabilities.mask_of(capabilities.names_of(mask)) == mask
    assert capabilities.names_of(0) == ()


def test_capability_of_a_newer_kernel_is_shown_by_number() -> None:
    """A bit that has no name yet is not hidden."""
    assert capabilities.names_of(1 << 41) == ("CAP_41",)


def test_effective_is_read_from_the_status_text() -> None:
    """The line CapEff counts, not its neighbours."""
    text = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000002000\nCapBnd:\t000001ffffffffff\n"
    assert capabilities.names_of(capabilities.effective(text)) == ("CAP_NET_RAW",)


def test_unknown_name_is_refused() -> None:
    """A misspelt capability never means none."""
    with pytest.raises(ValueError, match="CAP_NETRAW"):
        capabilities.mask_of(["CAP_NETRAW"])
