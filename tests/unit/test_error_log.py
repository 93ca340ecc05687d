"""The log of errors of sending: complete for few, bounded for many."""

from __future__ import annotations

import logging
from ipaddress import ip_address

import pytest

from monlat_ebpf.model import Family
from monlat_ebpf.probing.error_log import PERIOD_NS, ErrorLog
from monlat_ebpf.probing.ledger import Ledger
from monlat_ebpf.probing.targets import Target, TargetKey, Wanted
from monlat_ebpf.sources import Destination


def target(number: int) -> Target:
    wanted = Wanted(ip_address(0x0A000000 + number), "", 0)
    return Target(
        TargetKey(f"peer{number}", Family.IPV4), number, wanted, Destination(wanted.address), bytes(16), Ledger()
    )


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_each_address_and_error_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A known cause is explained, another errno is described by the system's text."""
    caplog.set_level(logging.WARNING)
    log, first = ErrorLog(), target(1)
    for _ in range(3):
        log.add(first, "ENETUNREACH", "Network is unreachable")
        log.add(first, "ENOBUFS", "No buffer space available")
    log.write(0)
    unreachable, full = lines(caplog)
    assert unreachable == "peer1 (10.0.0.1) cannot be probed: Network is unreachable; from now on only counted"
    assert full.startswith("peer1 (10.0.0.1) cannot be probed: the buffer of the sending socket is full")


def test_a_thousand_peers_that_fail_together_fill_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Twenty lines in a minute, and after it the number of the others."""
    caplog.set_level(logging.WARNING)
    log = ErrorLog()
    for number in range(1_009):
        log.add(target(number), "EPERM", "Operation not permitted")
        log.write(1 + number)
    assert len(lines(caplog)) == 20
    log.write(PERIOD_NS - 1)
    assert lines(caplog) == []
    log.write(PERIOD_NS + 1)
    assert lines(caplog) == ["989 more errors of sending were not logged, only counted"]
