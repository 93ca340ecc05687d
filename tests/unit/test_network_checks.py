"""The doctor's checks of ping sockets, and of the addresses that the agent's probes leave from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monlat_ebpf.doctor.check import Status
from monlat_ebpf.doctor.checks import run_checks
from monlat_ebpf.doctor.facts import UnlistedProbes
from monlat_ebpf.doctor.network_checks import own_address, ping_sockets
from monlat_ebpf.model import Family
from monlat_ebpf.sources.held_identifier import EXPOSED
from tests.unit.healthy_machine import HEALTHY

RANGE = "net.ipv4.ping_group_range"


@pytest.mark.parametrize(
    ("is_held", "groups", "status"),
    [
        (True, "0\t2147483647", "ok"),
        (False, "1\t0", "ok"),  # the kernel's default: nobody
        (False, "5\t5", "warn"),
        (False, None, "skip"),
    ],
)
def test_ping_sockets_that_others_may_open_are_a_warning(is_held: bool, groups: str | None, status: str) -> None:
    """Unless the agent keeps its identifier from them. The words are those of the agent's log."""
    sysctls = {**HEALTHY.sysctls} if groups is None else {**HEALTHY.sysctls, RANGE: groups}
    check = ping_sockets(replace(HEALTHY, identifier_is_held=is_held, sysctls=sysctls))
    assert check.status is Status(status)
    assert (check.found == EXPOSED) is (status == "warn")
    assert (RANGE in check.remedy) is (status == "warn")


@pytest.mark.parametrize(("recent", "total", "status"), [(0, 0, "ok"), (0, 7, "ok"), (3, 7, "warn")])
def test_probes_from_unlisted_addresses_are_a_warning(recent: int, total: int, status: str) -> None:
    """If there are some while the doctor runs: those of the agent's first second are no problem of today."""
    check = own_address({Family.IPV4: UnlistedProbes(0, 0), Family.IPV6: UnlistedProbes(recent, total)})
    assert check.status is Status(status)
    assert ("7 since" in check.found) is (total == 7)
    assert "ipv4" not in check.found


def test_own_address_is_a_check_of_an_agent() -> None:
    """Without one, no probes leave."""
    assert "own address" not in {check.name for check in run_checks(HEALTHY)}
    unlisted = {Family.IPV4: UnlistedProbes(1, 1)}
    (found,) = (check for check in run_checks(replace(HEALTHY, unlisted=unlisted)) if check.name == "own address")
    assert found.status is Status.WARN
