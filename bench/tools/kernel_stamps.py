"""SO_TIMESTAMPING: the kernel's own stamps of a plain socket, that of the request taken by the driver.

No tool of the comparison, but a second instrument beside the packet capture. Where the two differ, the truth is unsure.
The process is this file, run as a program; it imports little, so that it starts under a CPU limit, too.
"""

import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator

Ancillary = Iterable[tuple[int, int, bytes]]

SO_TIMESTAMPING = 37
MODE = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 11  # TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_ID, OPT_TSONLY
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 1 << 24
IP_RECVERR = 11
EXTENDED_ERROR = struct.Struct("=IBBBBII")  # linux/errqueue.h: the last field is the number of the packet
ECHO = struct.Struct("!BBHHH")
PAYLOAD = bytes(48)  # all zero: nothing to add to the checksum
IDENTIFIER = 0x4D4C
WAIT_SECONDS = 0.05  # for the last replies


def main(targets: list[str], count: int, interval_seconds: float) -> None:
    """Probe each target `count` times, then print address, number and RTT in ns of each reply."""
    probes = [(target, nth) for nth in range(count) for target in targets]
    own = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    own.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    own.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, MODE)
    begin = time.monotonic()
    for number, (target, nth) in enumerate(probes):
        time.sleep(max(begin + number * interval_seconds / len(targets) - time.monotonic(), 0))
        total = (8 << 8) + IDENTIFIER + nth
        echo = ECHO.pack(8, 0, 0xFFFF - (total & 0xFFFF) - (total >> 16), IDENTIFIER, nth)
        own.sendto(echo + PAYLOAD, (target, 0))
    time.sleep(WAIT_SECONDS)
    sent = sent_ns(own)
    numbers = {probe: number for number, probe in enumerate(probes)}
    for probe, at_ns in received_ns(own):
        print(*probe, at_ns - sent[numbers[probe]])


def sent_ns(own: socket.socket) -> dict[int, int]:
    """Return when the driver took each packet, by its number (from 0)."""
    found: dict[int, int] = {}
    while True:
        try:
            _, ancillary, _, _ = own.recvmsg(0, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return found
        number = next(EXTENDED_ERROR.unpack_from(data)[6] for _, kind, data in ancillary if kind == IP_RECVERR)
        found[number] = stamp_ns(ancillary)


def received_ns(own: socket.socket) -> Iterator[tuple[tuple[str, int], int]]:
    """Yield target and number of each reply, and when the kernel received it."""
    while True:
        try:
            data, ancillary, _, address = own.recvmsg(2048, 512, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        kind, _, _, identifier, nth = ECHO.unpack_from(data, (data[0] & 15) * 4)
        if kind == 0 and identifier == IDENTIFIER:
            yield (address[0], nth), stamp_ns(ancillary)


def stamp_ns(ancillary: Ancillary) -> int:
    """Return the software stamp in ns of the wall clock."""
    seconds, nanoseconds = next(
        struct.unpack_from("qq", data)
        for level, kind, data in ancillary
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPING
    )
    return int(seconds * 1_000_000_000 + nanoseconds)


if __name__ == "__main__":
    main(sys.argv[3:], int(sys.argv[1]), float(sys.argv[2]))
