"""The hash table of neighbours, against a search of all entries by brute force."""

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


def find(table: bytes, places: int, address: bytes) -> int | None:
    """Search as bpf/responder.h does: from the hash on, at most STEPS places, to the first empty one."""
    for step in range(STEPS):
        found, target, used = ENTRY.unpack_from(table, (address_hash(address) + step) % places * ENTRY.size)
        if not used:
            return None
        if found == address:
            return int(target)
    return None


def entries(table: bytes) -> dict[bytes, int]:
    """All that stands in the table, wherever it stands."""
    return {address: target for address, target, used in ENTRY.iter_unpack(table) if used}


@given(st.sets(st.binary(min_size=16, max_size=16), max_size=64), st.sampled_from([1, 2, 4, 16, 64, 256]))
def test_what_is_found_is_what_stands_there(addresses: set[bytes], places: int) -> None:
    """Any set in a table of any size: each is found or unplaced, never both, and strangers are never found."""
    targets = {address: number for number, address in enumerate(sorted(addresses))}
    table, unplaced = build(targets, places)
    assert len(table) == places * ENTRY.size
    housed = {address: target for address, target in targets.items() if address not in unplaced}
    assert entries(table) == housed
    assert {address: find(table, places, address) for address in targets} == targets | dict.fromkeys(unplaced)
    assert find(table, places, b"a stranger's one") is None or b"a stranger's one" in targets


CLUSTERS = {
    "one IPv4 subnet after the other": [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(5_003)],
    "the first node of each IPv4 subnet": [f"10.{n >> 8}.{n & 255}.1" for n in range(5_003)],
    "one IPv6 subnet": [f"fd77::{n:x}" for n in range(5_003)],
    "the first node of each IPv6 subnet": [f"fd77:0:0:{n:x}::1" for n in range(5_003)],
    "IPv6 by hardware address": [f"fe80::5054:ff:fe{n >> 8:02x}:{n & 255:02x}34" for n in range(5_003)],
    "both families": [a for n in range(2_503) for a in (f"10.0.{n >> 8}.{n & 255}", f"fd00::{n:x}")],
}


@pytest.mark.parametrize("addresses", CLUSTERS.values(), ids=CLUSTERS.keys())
def test_large_clusters_find_room_for_all(addresses: list[str]) -> None:
    """Some 5,000 addresses as clusters number them: none is unplaced, each is found as itself."""
    targets = {mapped(ip_address(address)): number for number, address in enumerate(addresses)}
    assert len(targets) == len(addresses)
    places = entries_for(len(targets))
    table, unplaced = build(targets, places)
    assert unplaced == ()
    assert all(find(table, places, address) == target for address, target in targets.items())


def test_more_than_fit_are_unplaced() -> None:
    """Of 13 addresses in a table of 4 places 9 have none: every search would pass the places of all."""
    targets = {bytes([number] * 16): number for number in range(13)}
    table, unplaced = build(targets, 4)
    assert len(unplaced) == 9
    assert len(entries(table)) == 4


def test_places_are_a_power_of_two_and_four_times_the_targets() -> None:
    """So that a mask picks the place, and three of four places or more are empty."""
    for targets, places in ((1, 4), (2, 8), (3, 16), (1_000, 4_096), (1_024, 4_096), (1_025, 8_192)):
        assert entries_for(targets) == places
