"""The source that the kernel program feeds."""

from __future__ import annotations

import mmap
import os
import resource
from collections.abc import Mapping
from contextlib import suppress

from monlat_ebpf import abi
from monlat_ebpf.conversations import Conversations, ConversationSize
from monlat_ebpf.errors import SourceError
from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources.raw_sockets import RawSockets, receive_nothing
from monlat_ebpf.sources.tracepoint.loader import Loaded, load
from monlat_ebpf.table import ProbeTable, TableSize


class TracepointSource:
    """Sends through raw sockets that receive nothing; the kernel program writes the table."""

    name = "tracepoint"

    def __init__(self, size: TableSize) -> None:
        """Load the program with room for `size`. Raises SourceError."""
        self._sockets = RawSockets(receive_nothing)
        self._loaded: Loaded | None = None
        try:
            self._sockets.get(Family.IPV4)
            _lift_locked_memory_limit()
            self._loaded = load(size.slots)
            conversation = ConversationSize(size)
            lengths = (
                *(size.probe_bytes, size.target_bytes, size.foreign_bytes),
                *(conversation.exchange_bytes, conversation.conversation_bytes, conversation.neighbour_bytes),
                *(abi.SETTINGS.size, abi.REFUSED_FEEDBACK.size),
            )
            memories = [
                mmap.mmap(descriptor, _whole_pages(length))
                for descriptor, length in zip(self._loaded.maps, lengths, strict=True)
            ]
        except PermissionError as error:
            self.close()
            raise SourceError(f"no raw socket ({error}): the agent needs CAP_NET_RAW, or root") from error
        except BaseException:
            self.close()
            raise
        self.table = ProbeTable(size, *memories[:3])
        self.conversations = Conversations(size, *memories[3:])

    def send(self, packet: bytes, address: Address) -> None:
        """Send `packet` to `address`."""
        self._sockets.send(packet, address)

    def trouble(self) -> Mapping[str, int]:
        """Return nothing: what goes wrong in the kernel is counted in the table."""
        return {}

    def close(self) -> None:
        """Detach the program and free its memory, save what is still mapped."""
        self._sockets.close()
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None


def _whole_pages(length: int) -> int:
    page = os.sysconf("SC_PAGE_SIZE")
    return (length + page - 1) // page * page


def _lift_locked_memory_limit() -> None:
    """Lift the limit that kernels before 5.11 put on the memory of maps, where we may."""
    # without the right to: newer kernels count maps by cgroup and do not look at it; on older ones loading says so
    with suppress(ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
