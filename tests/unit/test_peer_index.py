"""The hash table of peers, against a search of all entries by brute force."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.abi.peer_index import address_hash, build, entries_for
from monlat_ebpf.abi.probes import mapped

ENTRY = struct.Struct("<16sII")
STEPS = 12


def find(table: bytes, size: int, address: bytes) -> int | None:
    """Search as bpf/responder.h does: from the hash on, at most STEPS entries, to the first empty one."""
    for step in range(STEPS):
        found, target, used = ENTRY.unpack_from(table, (address_hash(address) + step) % size * ENTRY.size)
        if not used:
            return None
        if found == address:
            return int(target)
    return None


def entries(table: bytes) -> dict[bytes, int]:
    """All entries in use, wherever they are."""
    return {address: target for address, target, used in ENTRY.iter_unpack(table) if used}


@given(st.sets(st.binary(min_size=16, max_size=16), max_size=64), st.sampled_from([1, 2, 4, 16, 64, 256]))
def test_every_placed_address_is_found(addresses: set[bytes], size: int) -> None:
    """Any set in a table of any size: each address is found or unplaced, never both; a stranger is never found."""
    targets = {address: number for number, address in enumerate(sorted(addresses))}
    table, unplaced = build(targets, size)
    assert len(table) == size * ENTRY.size
    placed = {address: target for address, target in targets.items() if address not in unplaced}
    assert entries(table) == placed
    assert {address: find(table, size, address) for address in targets} == targets | dict.fromkeys(unplaced)
    assert find(table, size, b"a stranger's one") is None or b"a stranger's one" in targets


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
    assert unplaced == ()
    assert all(find(table, size, address) == target for address, target in targets.items())


def test_more_than_fit_are_unplaced() -> None:
    """Of 13 addresses in a table of 4 entries, 9 are unplaced."""
    targets = {bytes([number] * 16): number for number in range(13)}
    table, unplaced = build(targets, 4)
    assert len(unplaced) == 9
    assert len(entries(table)) == 4


def test_entries_are_a_power_of_two_and_four_times_the_targets() -> None:
    """So a mask selects the entry, and at least three of four entries are empty."""
    for targets, count in ((1, 4), (2, 8), (3, 16), (1_000, 4_096), (1_024, 4_096), (1_025, 8_192)):
        assert entries_for(targets) == count
