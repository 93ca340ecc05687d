"""The control messages that the kernel attaches to packets of a socket with time stamps."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from monlat_ebpf.abi.histogram import NANOSECONDS_PER_SECOND

SO_TIMESTAMPING: Final = 37  # asm-generic/socket.h; SCM_TIMESTAMPING is the same number
SO_RXQ_OVFL: Final = 40
IP_PKTINFO: Final = 8  # linux/in.h

TX_SOFTWARE: Final = 1 << 1  # linux/net_tstamp.h: SOF_TIMESTAMPING_*
RX_SOFTWARE: Final = 1 << 3
REPORT_SOFTWARE: Final = 1 << 4
OPT_CMSG: Final = 1 << 10
"""With it, and with packet information enabled, a transmit stamp names the interface on which it was taken."""

BUFFER_BYTES: Final = 512
"""Enough for all messages: stamps 64, packet information 36, error report 60, overflow 20 bytes."""

_STAMPS: Final = struct.Struct("@6l")  # struct scm_timestamping: software, (unused), hardware
_IPV4_INFO: Final = struct.Struct("@i8x")  # struct in_pktinfo
_IPV6_INFO: Final = struct.Struct("@16si")  # struct in6_pktinfo
_COUNT: Final = struct.Struct("@I")


class Ancillary(NamedTuple):
    """What the kernel says about one packet.

    `stamp_ns` is CLOCK_REALTIME, 0 if there is no stamp. `interface` is an index. `destination` is the IPv6 address
    that the packet was sent to. `overflow` is how many packets the socket has dropped so far, modulo 2^32, None if the
    kernel did not say.
    """

    stamp_ns: int
    interface: int
    destination: bytes
    overflow: int | None


def read(messages: Iterable[tuple[int, int, bytes]]) -> Ancillary:
    """Read the control messages of one packet, as recvmsg returns them; truncated ones count as absent."""
    stamp_ns, interface, destination, overflow = 0, 0, b"", None
    for level, kind, data in messages:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPING and len(data) >= _STAMPS.size:
            seconds, nanoseconds, *_ = _STAMPS.unpack_from(data)
            stamp_ns = seconds * NANOSECONDS_PER_SECOND + nanoseconds
        elif level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) >= _IPV4_INFO.size:
            (interface,) = _IPV4_INFO.unpack_from(data)
        elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(data) >= _IPV6_INFO.size:
            destination, interface = _IPV6_INFO.unpack_from(data)
        elif level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL and len(data) >= _COUNT.size:
            (overflow,) = _COUNT.unpack_from(data)
    return Ancillary(stamp_ns, interface, destination, overflow)
