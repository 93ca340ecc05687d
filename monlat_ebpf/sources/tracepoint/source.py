"""The source whose time stamps the kernel program takes."""

from __future__ import annotations

import mmap
import os
import resource
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from monlat_ebpf.abi.probes import ProbeTable, TableSize
from monlat_ebpf.abi.sessions import Sessions
from monlat_ebpf.errors import SourceError
from monlat_ebpf.host.next_hops import NextHopState
from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources import AS_USUAL, Destination, Packet, Sending, do_nothing
from monlat_ebpf.sources.held_identifier import HeldIdentifier
from monlat_ebpf.sources.raw_sockets import RawSockets, attach_decider, cookie, open_raw, receive_nothing
from monlat_ebpf.sources.tracepoint.loader import Loaded, load

_FIRST_TARGETS: Final = 64
"""Targets whose memory is mapped from the start; an eighth more whenever that is not enough."""


class TracepointSource:
    """Sends through raw sockets whose filters, and hooks beside them, write the table; they receive nothing."""

    name = "tracepoint"

    def __init__(self, size: TableSize, sending: Sending = AS_USUAL) -> None:
        """Load the program with room for `size`. Raises SourceError."""
        self._size = size
        self._sockets = RawSockets(receive_nothing, sending)
        self._held_identifier = HeldIdentifier()
        self._deciding: list[socket.socket] = []
        self._loaded: Loaded | None = None
        try:
            opened = [self._sockets.get(Family.IPV4), self._sockets.get(Family.IPV4, answering=False)]
            with suppress(OSError):  # no IPv6 in this kernel; `send` raises it again if IPv6 is needed
                opened += [self._sockets.get(Family.IPV6), self._sockets.get(Family.IPV6, answering=False)]
            _lift_locked_memory_limit()
            self._loaded = load(size)
            memories = self._map(self._loaded, _FIRST_TARGETS)
            for family in (Family.IPV4, Family.IPV6)[: len(opened) // 2]:
                # of its own: those that send may be bound to an address, and peers may probe another one
                self._deciding.append(open_raw(family))
                attach_decider(self._deciding[-1], family, self._loaded.filters[family])
        except PermissionError as error:
            self.close()
            raise SourceError(f"no raw socket ({error}): the agent needs CAP_NET_RAW, or root") from error
        except BaseException:
            self.close()
            raise
        self.table = ProbeTable(size, memories)
        self.sessions = Sessions(size, memories)
        self.identifier = self._held_identifier.number
        self.sessions.set_own(self.identifier, [cookie(raw) for raw in opened])

    def reserve(self, targets: int) -> None:
        """Map the memory of the targets below `targets`."""
        if targets > self._mapped and self._loaded is not None:
            memories = self._map(self._loaded, max(targets, self._mapped * 9 // 8))
            self.table.use(memories)
            self.sessions.use(memories)

    def _map(self, loaded: Loaded, targets: int) -> dict[str, mmap.mmap]:
        """Return the memory of the maps by name, only as much as the first `targets` need.

        The kernel maps the whole range at once, and all of it counts as resident memory.
        """
        self._mapped = min(targets, self._size.targets)
        lengths = self._size.map_bytes(self._mapped)
        return {name: mmap.mmap(loaded.maps[name], _whole_pages(length)) for name, length in lengths.items()}

    def send(
        self,
        packet: bytes,
        to: Destination,
        start: Callable[[], int] = do_nothing,
        *,
        answering: bool = True,
        rehearse: bool = True,
    ) -> int:
        """Send `packet`, and call `start` immediately before; return what it returned."""
        return self._sockets.send(packet, to, start, answering=answering, rehearse=rehearse)

    def send_batch(self, packets: Sequence[Packet], start: Callable[[int], int]) -> list[int | OSError]:
        """Send packets one after another; return for each what `start` returned, or the error."""
        return self._sockets.send_batch(packets, start)

    def next_hop_state(self, address: Address) -> NextHopState:
        """Return what the kernel knows of the next hop to `address`."""
        return self._sockets.next_hop_state(address)

    def use_sources(self, addresses: Sequence[Address]) -> frozenset[Family]:
        """Send from these addresses as far as they are this host's; return the families that do."""
        return self._sockets.use_sources(addresses)

    def errors(self) -> Mapping[str, int]:
        """Return nothing: the kernel program counts errors in its maps."""
        return {}

    def close(self) -> None:
        """Detach the program and free its memory, except what is still mapped."""
        self._sockets.close()
        for raw in self._deciding:
            raw.close()
        self._deciding.clear()
        self._held_identifier.close()
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None


def _whole_pages(length: int) -> int:
    page = os.sysconf("SC_PAGE_SIZE")
    return (length + page - 1) // page * page


def _lift_locked_memory_limit() -> None:
    """Lift the limit that kernels before 5.11 put on the memory of maps, if this process may."""
    # if it may not: newer kernels count maps by cgroup and ignore the limit; on older ones loading fails and says why
    with suppress(ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
