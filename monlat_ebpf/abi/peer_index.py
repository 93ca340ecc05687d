"""The hash table that tells the kernel program whose an address is; `bpf/responder.h` searches it.

Open addressing with a bounded search and no tombstones: to remove is to build anew, which happens only when
peers leave.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from monlat_ebpf.abi import layout

_U64: Final = 2**64 - 1
_WORDS: Final = struct.Struct("<QQ")
_ENTRY: Final = struct.Struct(layout.PEER_ENTRY.format)


def entries_for(targets: int) -> int:
    """Return how many places the table for `targets` has: a power of two."""
    return 1 << (targets * layout.PEER_INDEX_ENTRIES_PER_TARGET - 1).bit_length()


def address_hash(address: bytes) -> int:
    """Return the hash of a mapped address, the same as address_hash() in `bpf/responder.h`."""
    first: int
    second: int
    first, second = _WORDS.unpack(address)
    mixed = (first * 0x9E3779B97F4A7C15 & _U64) ^ second
    mixed = (mixed ^ mixed >> 32) * 0xC2B2AE3D27D4EB4F & _U64
    mixed = (mixed ^ mixed >> 29) * 0x9E3779B97F4A7C15 & _U64
    return mixed >> 32


def build(targets: Mapping[bytes, int], places: int) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the table that maps each mapped address to its target, and the addresses that found no place in it.

    Those are served like a stranger's: their dwell is not measured.
    """
    table = bytearray(places * layout.PEER_ENTRY.size)
    taken: set[int] = set()
    unplaced = []
    for address, target in targets.items():
        start = address_hash(address)
        steps = ((start + step) & (places - 1) for step in range(layout.PEER_INDEX_STEPS))
        place = next((place for place in steps if place not in taken), None)
        if place is None:
            unplaced.append(address)
            continue
        taken.add(place)
        _ENTRY.pack_into(table, place * layout.PEER_ENTRY.size, address, target, 1)
    return bytes(table), tuple(unplaced)
