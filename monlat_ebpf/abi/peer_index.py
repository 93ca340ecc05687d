"""The hash table by which the kernel program finds the target of an address; `bpf/responder.h` searches it.

Open addressing with a bounded search and no tombstones: where an entry goes, those behind it move up.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.layout import Memory, Record

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


class PeerIndex:
    """The table in memory that the kernel program reads at the same time.

    An entry is moved by writing it to its new position first, so each search finds it all the time.
    """

    def __init__(self, memory: Memory, entries: int) -> None:
        """Fill the empty table of so many `entries`, a power of two, at the start of `memory`."""
        self._memory = memory
        self._mask = entries - 1
        self._positions: dict[bytes, tuple[int, int]] = {}  # by address: entry and target

    def use(self, memory: Memory) -> None:
        """Go on with another view of the same memory."""
        self._memory = memory

    def set(self, targets: Mapping[bytes, int]) -> int:
        """Let the table map these mapped addresses to their targets, and no others; return how many have no room.

        An address has no room if its search meets no free entry. The kernel program does not serve its requests.
        Only entries that change are written.
        """
        for address in [address for address, (_, target) in self._positions.items() if targets.get(address) != target]:
            self._remove(address)
        for address, target in targets.items():
            if address not in self._positions:
                self._insert(address, target)
        return len(targets) - len(self._positions)

    def _insert(self, address: bytes, target: int) -> None:
        start = address_hash(address)
        for step in range(layout.PEER_INDEX_STEPS):
            index = start + step & self._mask
            if not self._entry(index).used:
                self._write(index, layout.PEER_ENTRY.pack(address, target, 1))
                self._positions[address] = index, target
                return

    def _remove(self, address: bytes) -> None:
        """Empty an entry. An entry behind it that a search would no longer reach moves into the hole before."""
        hole, _ = self._positions.pop(address)
        index = hole
        for _ in range(self._mask):
            index = index + 1 & self._mask
            entry = self._entry(index)
            if not entry.used:
                break
            # how far the entry is from its first position, against how far it is from the hole
            if (index - address_hash(entry.address) & self._mask) >= (index - hole & self._mask):
                self._write(hole, layout.PEER_ENTRY.pack(*entry))
                self._positions[entry.address] = hole, entry.target
                hole = index
        self._write(hole, bytes(layout.PEER_ENTRY.size))

    def _entry(self, index: int) -> Record:
        return layout.PEER_ENTRY.read(self._memory, index)

    def _write(self, index: int, entry: bytes) -> None:
        """Write an entry at once: a search in the kernel may see one half of it, but no half of a number."""
        self._memory[index * layout.PEER_ENTRY.size : (index + 1) * layout.PEER_ENTRY.size] = entry
