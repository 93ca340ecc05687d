"""The doctor's check of the kernel's tables of link addresses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monlat_ebpf.doctor.check import Status
from monlat_ebpf.doctor.link_checks import link_addresses
from monlat_ebpf.host.next_hops import LinkAddressTable
from monlat_ebpf.model import Family
from tests.unit.healthy_machine import HEALTHY


@pytest.mark.parametrize(("entries", "overflows", "status"), [(819, 0, "ok"), (820, 0, "warn"), (5, 1, "ok")])
def test_table_that_is_nearly_full_is_a_warning(entries: int, overflows: int, status: str) -> None:
    """Four fifths of 1,024 are 819.2. That one was full before is no problem of today. The remedy names the setting."""
    tables = {Family.IPV4: LinkAddressTable(5, 1024, 0), Family.IPV6: LinkAddressTable(entries, 1024, overflows)}
    check = link_addresses(replace(HEALTHY, link_tables=tables))
    assert check.status is Status(status)
    assert ("net.ipv6.neigh.default.gc_thresh3" in check.remedy) is (status == "warn")
    assert "net.ipv4" not in check.remedy


def test_kernel_that_does_not_tell_is_not_checked() -> None:
    """A sandbox may have no netlink."""
    assert link_addresses(replace(HEALTHY, link_tables={})).found.startswith("not checked")
