"""From which addresses probes leave, as far as the source can."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from monlat_ebpf.model import Address, Family
from monlat_ebpf.probing.own_sources import OwnSources
from tests.unit.fake_source import FakeSource

FOUR, SIX = ip_address("10.0.0.1"), ip_address("fd00::1")


class Host(FakeSource):
    """A source on a host with the addresses `local`."""

    def __init__(self, *local: Address) -> None:
        super().__init__(1)
        self.local = set(local)
        self.calls: list[Sequence[Address]] = []

    def use_sources(self, addresses: Sequence[Address]) -> frozenset[Family]:
        self.calls.append(tuple(addresses))
        return frozenset(Family.of(address) for address in addresses if address in self.local)


def test_probes_from_listed_addresses_are_not_counted() -> None:
    """The source is asked each time: it checks that the addresses are still this host's."""
    host = Host(FOUR, SIX)
    sources = OwnSources(host)
    for _ in range(2):
        sources.use((FOUR, SIX))
        for family in Family:
            sources.count(family)
    assert host.calls == [(FOUR, SIX)] * 2
    assert sources.unlisted == {}


def test_address_that_is_not_this_hosts_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """It comes and goes: counted while it is away, and logged each time that it goes."""
    caplog.set_level(logging.WARNING)
    host = Host(FOUR)
    sources = OwnSources(host)
    seen = []
    for local in ({FOUR}, {FOUR}, {FOUR, SIX}, {FOUR}, {FOUR}):
        host.local = set(local)
        sources.use((FOUR, SIX))
        for family in Family:
            sources.count(family)
        seen.append(sources.unlisted[Family.IPV6])
    assert seen == [1, 2, 2, 3, 4]
    assert sources.unlisted[Family.IPV4] == 0
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "ipv6 probes do not leave from fd00::1"
    ] * 2


def test_family_that_is_not_listed_is_counted() -> None:
    """The peers know no IPv6 address of this node. Without any listed address nothing can be said."""
    sources = OwnSources(Host(FOUR))
    sources.use(())
    sources.count(Family.IPV6)
    assert sources.unlisted == {}
    sources.use((FOUR,))
    sources.count(Family.IPV6)
    assert sources.unlisted == {Family.IPV6: 1}


def test_sources_are_released_when_this_node_is_no_longer_listed() -> None:
    """The source is told once that there is none, and nothing is counted any more."""
    host = Host(FOUR)
    sources = OwnSources(host)
    for listed in ((FOUR,), (), ()):
        sources.use(listed)
    sources.count(Family.IPV6)
    assert host.calls == [(FOUR,), ()]
    assert sources.unlisted == {}
