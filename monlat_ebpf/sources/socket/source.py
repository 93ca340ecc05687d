"""The source that uses the kernel's SO_TIMESTAMPING stamps."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from monlat_ebpf.abi.probes import ProbeTable, TableSize
from monlat_ebpf.errors import SourceError
from monlat_ebpf.host.next_hops import NextHopState
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.model import Address, Family
from monlat_ebpf.sources import AS_USUAL, Destination, Packet, Sending, do_nothing
from monlat_ebpf.sources.raw_sockets import RawSockets, new_identifier
from monlat_ebpf.sources.socket import ancillary
from monlat_ebpf.sources.socket.endpoint import Endpoint
from monlat_ebpf.sources.socket.receiver import Receiver

_LOG = logging.getLogger(__name__)

_SENT_BETWEEN_READS: Final = 64
"""An error queue of Debian's default size holds some 160 stamps, and the stamps of lost probes wake no thread."""

_STAMPS_ON_SECONDS: Final = 1.0
_STAMPS_ON_TRY_SECONDS: Final = 0.02


class SocketSource:
    """Sends through raw sockets whose stamps a thread reads; the table is plain memory of this process."""

    name = "socket"
    sessions = None  # a socket sees the requests of peers too late to time them

    def __init__(
        self,
        size: TableSize,
        clock: WallClock | None = None,
        *,
        sending: Sending = AS_USUAL,
        when_opened: Callable[[], object] = do_nothing,
    ) -> None:
        """Open the sockets in this thread's network namespace. Raises SourceError.

        `when_opened` is called when all are open, and before the thread starts that reads from them.
        """
        self._since_read = 0
        self.identifier = new_identifier()
        self._receiver = Receiver(size, clock)
        self.table: ProbeTable = self._receiver.table
        self._endpoints: dict[Family, Endpoint] = {}
        self._sockets = RawSockets(self._stamp, sending)
        try:
            self._open(Family.IPV4)
            self._open_ipv6()
        except PermissionError as error:
            self.close()
            raise SourceError(f"no raw socket ({error}): the agent needs CAP_NET_RAW, or root") from error
        except OSError as error:
            self.close()
            raise SourceError(
                f"this kernel has no socket with time stamps ({error}): it needs SO_TIMESTAMPING with software stamps; "
                "--source tracepoint works without it"
            ) from error
        except BaseException:
            self.close()
            raise
        if not _wait_for_receive_stamps():
            _LOG.warning(
                "no receive stamp of the kernel was seen on the loopback interface (is lo down?); "
                "the first replies may have no stamps"
            )
        try:
            when_opened()
            self._receiver.start()
        except BaseException:
            self.close()
            raise

    def _open_ipv6(self) -> None:
        try:
            self._open(Family.IPV6)
        except PermissionError:
            raise
        except OSError as error:  # no IPv6 in this kernel; `send` raises it again if IPv6 is needed
            _LOG.debug("no IPv6 socket: %s", error)

    def _open(self, family: Family) -> None:
        self._sockets.get(family)
        self._sockets.get(family, answering=False)

    def _stamp(self, raw: socket.socket, family: Family) -> None:
        if family in self._endpoints:
            self._endpoints[family].add_sending(raw)
            return
        self._endpoints[family] = endpoint = Endpoint(raw, family)
        self._receiver.add(endpoint)

    def reserve(self, targets: int) -> None:
        """Do nothing: the whole table is usable, and the kernel allocates its memory at first use."""

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
        self._since_read += 1
        if self._since_read >= _SENT_BETWEEN_READS:
            self._since_read = 0
            self._receiver.catch_up()
        return self._sockets.send(packet, to, start, answering=answering, rehearse=rehearse)

    def send_batch(self, packets: Sequence[Packet], start: Callable[[int], int]) -> list[int | OSError]:
        """Send packets one after another; return for each what `start` returned, or the error."""
        results: list[int | OSError] = []
        for first in range(0, len(packets), _SENT_BETWEEN_READS):
            some = packets[first : first + _SENT_BETWEEN_READS]
            self._since_read += len(some)
            if self._since_read >= _SENT_BETWEEN_READS:
                self._since_read = 0
                self._receiver.catch_up()
            results += self._sockets.send_batch(some, start)
        return results

    def next_hop_state(self, address: Address) -> NextHopState:
        """Return what the kernel knows of the next hop to `address`."""
        return self._sockets.next_hop_state(address)

    def use_sources(self, addresses: Sequence[Address]) -> frozenset[Family]:
        """Send from these addresses as far as they are this host's; return the families that do."""
        return self._sockets.use_sources(addresses)

    def errors(self) -> Mapping[str, int]:
        """Return how often reading failed: missing and rejected stamps, overflows of a buffer, other errors."""
        return self._receiver.errors()

    def close(self) -> None:
        """End the thread and close the sockets, within half a second."""
        self._receiver.close()
        self._sockets.close()


def _wait_for_receive_stamps() -> bool:
    """Wait until arriving packets are stamped: the kernel begins some time after the request.

    Send datagrams to ourselves over the loopback interface. Return False if none came with a stamp in time.
    """
    give_up = time.monotonic() + _STAMPS_ON_SECONDS
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        flags = ancillary.RX_SOFTWARE | ancillary.REPORT_SOFTWARE
        probe.setsockopt(socket.SOL_SOCKET, ancillary.SO_TIMESTAMPING, flags)
        probe.bind(("127.0.0.1", 0))
        probe.settimeout(_STAMPS_ON_TRY_SECONDS)
        while time.monotonic() < give_up:
            try:
                probe.sendto(b"monlat", probe.getsockname())
                _, control, _, _ = probe.recvmsg(16, ancillary.BUFFER_BYTES)
            except TimeoutError:
                continue
            except OSError:
                return False
            if ancillary.read(control).stamp_ns:
                return True
    return False
