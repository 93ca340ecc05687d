"""Sends requests as a peer's agent does, without rights and without seeing a packet of the peers: a program.

`python -m tests.kernel.forging SOURCE DESTINATION...` sends them from and to each pair of addresses in turn until it is
killed, as user 65534 through ping sockets. It waits for the replies of one round before it sends the next, so that no
queue overflows.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from itertools import count
from random import Random

from monlat_ebpf.abi import echo, layout

NOBODY = 65534
REPLY_SECONDS = 0.2


def payload(random: Random, number: int) -> bytes:
    """Return a payload of one of several kinds, whatever can be known or guessed from outside."""
    nonce = random.getrandbits(60) << 4 | number % 16
    sequence = (random.getrandbits(32), number % 997, number // 100 % 997)[number % 3]
    named = (0, random.getrandbits(64), number % 16 + 1, nonce)[number % 4]
    report = layout.FEEDBACK.pack(named, time.time_ns(), 20_000, random.getrandbits(16), random.getrandbits(15))
    stream = (random.getrandbits(64), 1, 0, number)[number // 4 % 4]
    return echo.payload(number % 256, sequence, nonce, echo.Feedback(report, number % 17, stream))


def ping_socket(source: str, destination: str) -> socket.socket:
    """Return a ping socket between two addresses (IPPROTO_ICMP or IPPROTO_ICMPV6, with SOCK_DGRAM)."""
    if ":" in source:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6)
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    sock.bind((source, 0))
    sock.connect((destination, 0))
    sock.settimeout(REPLY_SECONDS)
    return sock


def main(addresses: list[str]) -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    random = Random(1)
    sockets = [ping_socket(*pair) for pair in zip(addresses[::2], addresses[1::2], strict=True)]
    for start in count(0, len(sockets)):
        for number, sock in enumerate(sockets, start):
            kind = 128 if sock.family == socket.AF_INET6 else 8
            sock.send(bytes([kind, 0, 0, 0, 0, 0, 0, 0]) + payload(random, number))
        for sock in sockets:
            try:
                sock.recv(256)
            except TimeoutError:
                continue


if __name__ == "__main__":
    main(sys.argv[1:])
