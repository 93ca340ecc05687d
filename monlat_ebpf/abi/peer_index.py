"""The hash table by which the kernel program finds the target of an address; `bpf/responder.h` searches it.

Open addressing with a bounded search and no tombstones: whenever the set of peers changes, the whole table is built
again.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from monlat_ebpf.abi import layout

_U64: Final = 2**64 - 1
_ADDRESS: Final = struct.Struct("<QQ")


def entries_for(targets: int) -> int:
    """Return how many entries the table for `targets` has: a power of two."""
    return 1 << (targets * layout.PEER_INDEX_ENTRIES_PER_TARGET - 1).bit_length()


def address_hash(address: bytes) -> int:
    """Return the hash of a mapped address, the same as address_hash() in `bpf/responder.h`."""
    first: int
    second: int
    first, second = _ADDRESS.unpack(address)
    mixed = (first * 0x9E3779B97F4A7C15 & _U64) ^ second
    mixed = (mixed ^ mixed >> 32) * 0xC2B2AE3D27D4EB4F & _U64
    mixed = (mixed ^ mixed >> 29) * 0x9E3779B97F4A7C15 & _U64
    return mixed >> 32


def build(targets: Mapping[bytes, int], entries: int) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the table that maps each mapped address to its target, and the unplaced addresses.

    An address is unplaced if its search meets no free entry. The kernel program does not serve its requests.
    """
    table = bytearray(entries * layout.PEER_ENTRY.size)
    taken: set[int] = set()
    unplaced = []
    for address, target in targets.items():
        start = address_hash(address)
        steps = ((start + step) & (entries - 1) for step in range(layout.PEER_INDEX_STEPS))
        index = next((index for index in steps if index not in taken), None)
        if index is None:
            unplaced.append(address)
            continue
        taken.add(index)
        layout.PEER_ENTRY.write(table, index, address, target, 1)
    return bytes(table), tuple(unplaced)
