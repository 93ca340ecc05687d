"""The sockets of a family: two send and have the transmit stamps in their error queues, another one receives.

If one socket did both, stamps and replies would share one buffer, and every stamp would wake the receiver.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final, NamedTuple

from monlat_ebpf.model import Family
from monlat_ebpf.sources.raw_sockets import open_raw, receive_nothing
from monlat_ebpf.sources.socket import ancillary
from monlat_ebpf.sources.socket.filters import attach_filters
from monlat_ebpf.sources.socket.messages import Message, find_probe_in, parse_ipv4, parse_ipv6

_SOL_RAW: Final = 255
_IPV6_CHECKSUM: Final = 7
_PACKET_BYTES: Final = 2048
"""Longer than what the filter passes, and than our own requests with the headers of any link."""

_RECEIVE_BUFFER_BYTES: Final = 1 << 20
"""The size requested; the kernel grants as much as net.core.rmem_max allows."""


class Transmitted(NamedTuple):
    """A driver's stamp for the request of `slot`, CLOCK_REALTIME in ns, and the interface's index."""

    slot: int
    nonce: int
    stamp_ns: int
    interface: int


class Received(NamedTuple):
    """A message, and the stamp of its entry into the stack: CLOCK_REALTIME in ns, 0 if there is none."""

    message: Message
    stamp_ns: int


class Endpoint:
    """Reads stamps from the sockets that send, which their owner closes, and messages from a socket of its own."""

    def __init__(self, sending: socket.socket, family: Family) -> None:
        """Set up both kinds of sockets. Raises OSError."""
        self.overflow = 0  # packets dropped because the receive buffer was full
        self._family = family
        self._sending: list[socket.socket] = []
        self.add_sending(sending)
        self.receiving = open_raw(family)
        try:
            self._set_up_receiving()
        except BaseException:
            self.receiving.close()
            raise

    def add_sending(self, sending: socket.socket) -> None:
        """Read stamps from this socket, too. Raises OSError."""
        receive_nothing(sending, self._family)  # the error queue is not affected
        _ask_for_packet_information(sending, self._family)
        flags = ancillary.TX_SOFTWARE | ancillary.REPORT_SOFTWARE | ancillary.OPT_CMSG
        sending.setsockopt(socket.SOL_SOCKET, ancillary.SO_TIMESTAMPING, flags)
        self._sending.append(sending)

    def _set_up_receiving(self) -> None:
        raw = self.receiving
        attach_filters(raw, self._family)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        raw.setsockopt(socket.SOL_SOCKET, ancillary.SO_RXQ_OVFL, 1)
        if self._family is Family.IPV6:
            _ask_for_packet_information(raw, self._family)  # the checksum covers the destination
            raw.setsockopt(_SOL_RAW, _IPV6_CHECKSUM, -1)  # else the kernel drops wrong ones and we cannot count them
        flags = ancillary.RX_SOFTWARE | ancillary.REPORT_SOFTWARE
        raw.setsockopt(socket.SOL_SOCKET, ancillary.SO_TIMESTAMPING, flags)

    def read_transmitted(self, most: int) -> Iterator[Transmitted]:
        """Yield the stamps that are there, at most `most` of each socket.

        The kernel returns each request with its stamp, so slot and nonce are read from the request. The keys of
        SOF_TIMESTAMPING_OPT_ID are not used: some kernels count some failed system calls as well.
        """
        for sending in self._sending:
            yield from self._read_stamps(sending, most)

    @staticmethod
    def _read_stamps(sending: socket.socket, most: int) -> Iterator[Transmitted]:
        for _ in range(most):
            try:
                packet, control, _flags, _ = sending.recvmsg(
                    _PACKET_BYTES, ancillary.BUFFER_BYTES, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return
            probe = find_probe_in(packet)
            about = ancillary.read(control)
            if probe is not None and about.stamp_ns:
                yield Transmitted(*probe, about.stamp_ns, about.interface)

    def read_received(self, most: int) -> Iterator[Received]:
        """Yield the messages that are there, from at most `most` packets."""
        for _ in range(most):
            try:
                packet, control, _flags, sender = self.receiving.recvmsg(
                    _PACKET_BYTES, ancillary.BUFFER_BYTES, socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return
            about = ancillary.read(control)
            if about.overflow is not None:
                self.overflow = about.overflow
            message = self._parse(packet, sender[0], about.destination)
            if message is not None:
                yield Received(message, about.stamp_ns)

    def _parse(self, packet: bytes, sender: str, destination: bytes) -> Message | None:
        if self._family is Family.IPV4:
            return parse_ipv4(packet)
        source = socket.inet_pton(socket.AF_INET6, sender.partition("%")[0])
        return parse_ipv6(packet, source, destination)

    def close(self) -> None:
        """Close the receiving socket."""
        self.receiving.close()


def _ask_for_packet_information(raw: socket.socket, family: Family) -> None:
    if family is Family.IPV4:
        raw.setsockopt(socket.IPPROTO_IP, ancillary.IP_PKTINFO, 1)
    else:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
