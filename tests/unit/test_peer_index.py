"""The hash table of peers, against a search of all entries by brute force."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.abi.peer_index import PeerIndex, address_hash, entries_for
from monlat_ebpf.abi.probes import mapped

ENTRY = struct.Struct("<16sII")
STEPS = 12


def build(targets: dict[bytes, int], size: int) -> tuple[bytes, int]:
    """Return the table, and how many addresses have no room in it."""
    table = bytearray(size * ENTRY.size)
    unplaced = PeerIndex(table, size).set(targets)
    return bytes(table), unplaced


def find(table: bytes | bytearray, size: int, address: bytes) -> int | None:
    """Search as bpf/responder.h does: from the hash on, at most STEPS entries, to the first empty one."""
    for step in range(STEPS):
        found, target, used = ENTRY.unpack_from(table, (address_hash(address) + step) % size * ENTRY.size)
        if not used:
            return None
        if found == address:
            return int(target)
    return None


def entries(table: bytes | bytearray) -> dict[bytes, int]:
    """All entries in use, wherever they are."""
    return {address: target for address, target, used in ENTRY.iter_unpack(table) if used}


@given(st.sets(st.binary(min_size=16, max_size=16), max_size=64), st.sampled_from([1, 2, 4, 16, 64, 256]))
def test_every_placed_address_is_found(addresses: set[bytes], size: int) -> None:
    """Any set in a table of any size: each address in it is found, and those that are not are counted."""
    targets = {address: number for number, address in enumerate(sorted(addresses))}
    table, unplaced = build(targets, size)
    placed = entries(table)
    assert placed.items() <= targets.items()
    assert len(placed) + unplaced == len(targets)
    assert {address: find(table, size, address) for address in targets} == dict.fromkeys(targets) | placed
    assert find(table, size, b"a stranger's one") is None or b"a stranger's one" in targets


addresses = st.integers(0, 40).map(lambda number: bytes([number] * 16))


@given(st.lists(st.dictionaries(addresses, st.integers(0, 3), max_size=24), max_size=12), st.sampled_from([16, 32]))
def test_addresses_that_come_and_go(changes: list[dict[bytes, int]], size: int) -> None:
    """After each change of a crowded table, what is in it is found with its target, and nothing else is in it."""
    table = bytearray(size * ENTRY.size)
    index = PeerIndex(table, size)
    for targets in changes:
        unplaced = index.set(targets)
        placed = entries(table)
        assert placed.items() <= targets.items()
        assert len(placed) + unplaced == len(targets)
        assert {address: find(table, size, address) for address in placed} == placed
    assert index.set({}) == 0
    assert table == bytes(len(table))


class Watched(bytearray):
    """Memory that a search reads between any two writes."""

    def __init__(self, size: int) -> None:
        super().__init__(size * ENTRY.size)
        self.entries = size
        self.wanted: dict[bytes, int] = {}

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        for address, target in self.wanted.items():
            assert find(self, self.entries, address) == target


def test_an_address_that_stays_is_found_all_the_time() -> None:
    """Of 12 addresses in a table of 16 entries, three go and two come, in many ways: the others are always found."""
    random = Random(1)
    for _ in range(211):
        table = Watched(16)
        index = PeerIndex(table, 16)
        targets = {random.randbytes(16): number for number in range(12)}
        if index.set(targets):
            continue
        gone = set(random.sample(sorted(targets), 3))
        table.wanted = {address: target for address, target in targets.items() if address not in gone}
        index.set(table.wanted | {random.randbytes(16): 20, random.randbytes(16): 21})


CLUSTERS = {
    "one IPv4 subnet after the other": [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(5_003)],
    "the first node of each IPv4 subnet": [f"10.{n >> 8}.{n & 255}.1" for n in range(5_003)],
    "one IPv6 subnet": [f"fd77::{n:x}" for n in range(5_003)],
    "the first node of each IPv6 subnet": [f"fd77:0:0:{n:x}::1" for n in range(5_003)],
    "IPv6 by hardware address": [f"fe80::5054:ff:fe{n >> 8:02x}:{n & 255:02x}34" for n in range(5_003)],
    "both families": [a for n in range(2_503) for a in (f"10.0.{n >> 8}.{n & 255}", f"fd00::{n:x}")],
}


@pytest.mark.parametrize("addresses", CLUSTERS.values(), ids=CLUSTERS.keys())
def test_no_address_of_a_large_cluster_is_unplaced(addresses: list[str]) -> None:
    """About 5,000 addresses as clusters number them: each is found with its own target."""
    targets = {mapped(ip_address(address)): number for number, address in enumerate(addresses)}
    assert len(targets) == len(addresses)
    size = entries_for(len(targets))
    table, unplaced = build(targets, size)
    assert unplaced == 0
    assert all(find(table, size, address) == target for address, target in targets.items())


def test_more_than_fit_are_unplaced() -> None:
    """Of 13 addresses in a table of 4 entries, 9 are unplaced."""
    targets = {bytes([number] * 16): number for number in range(13)}
    table, unplaced = build(targets, 4)
    assert unplaced == 9
    assert len(entries(table)) == 4


def test_entries_are_a_power_of_two_and_four_times_the_targets() -> None:
    """So a mask selects the entry, and at least three of four entries are empty."""
    for targets, count in ((1, 4), (2, 8), (3, 16), (1_000, 4_096), (1_024, 4_096), (1_025, 8_192)):
        assert entries_for(targets) == count
