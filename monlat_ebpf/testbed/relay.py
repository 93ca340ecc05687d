"""A process that takes frames which the switch drops, and delivers them later: a slow wire on any kernel.

netem does the same where the kernel has it; many do not. The process reads copies of what arrives at the senders' ports
(AF_PACKET gets them before a rule of nftables drops them) and sends them out of the receiver's port. What it does not
delay stays in the kernel and is not slower than before.

Run as `python -m monlat_ebpf.testbed.relay JSON` in the switch's namespace, with a socket as standard input: it sends
READY when it reads the ports, begins when it gets BEGIN, and ends when the other side closes the socket.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Final

READY: Final = b"r"
BEGIN: Final = b"b"

PACKET_IGNORE_OUTGOING: Final = 23  # linux/if_packet.h, since Linux 4.20
SOL_PACKET: Final = 263
ETH_P_ALL: Final = 0x0003

_LARGEST_FRAME: Final = 65_536
_ETHERTYPE: Final = slice(12, 14)
_DESTINATION: Final = slice(30, 34)  # of IPv4 behind an Ethernet header
_IPV4: Final = b"\x08\x00"


def destination_of(frame: bytes) -> bytes | None:
    """Return the IPv4 address that a frame is for; None if it carries something else. Pure."""
    return frame[_DESTINATION] if frame[_ETHERTYPE] == _IPV4 else None


def relay(parent: socket.socket, senders: Sequence[str], receivers: Mapping[str, str], delay_seconds: float) -> None:
    """Delay frames from the ports `senders` to the addresses `receivers`, each with its port, until `parent` ends."""
    sources = [_opened(port) for port in senders]
    ports = {IPv4Address(address).packed: _opened(port, reads=False) for address, port in receivers.items()}
    parent.sendall(READY)
    parent.recv(len(BEGIN))  # the switch drops them from now on
    for source in sources:
        while _frame(source):
            pass  # what came before has arrived without us
    waiting: deque[tuple[float, bytes, socket.socket]] = deque()
    while True:
        timeout = max(waiting[0][0] - time.monotonic(), 0) if waiting else None
        readable, _, _ = select.select([parent, *sources], [], [], timeout)
        if parent in readable:
            return
        now = time.monotonic()
        for source in readable:
            while frame := _frame(source):
                port = ports.get(destination_of(frame) or b"")
                if port is not None:
                    waiting.append((now + delay_seconds, frame, port))
        while waiting and waiting[0][0] <= now:
            _, frame, port = waiting.popleft()
            with suppress(OSError):  # a full or a cut wire loses it
                port.send(frame)


def _opened(port: str, *, reads: bool = True) -> socket.socket:
    """Return a socket for whole frames of an interface."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    opened.bind((port, ETH_P_ALL if reads else 0))
    opened.setblocking(False)
    return opened


def _frame(source: socket.socket) -> bytes:
    try:
        return source.recv(_LARGEST_FRAME)
    except BlockingIOError:
        return b""


if __name__ == "__main__":
    plan = json.loads(sys.argv[1])
    with socket.socket(fileno=0) as standard_input:
        relay(standard_input, plan["senders"], plan["receivers"], plan["delay_seconds"])
