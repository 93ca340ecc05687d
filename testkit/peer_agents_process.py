"""A process that is the agent of every peer behind a device, so that its work counts as nobody else's.

    python -m testkit.peer_agents_process DEVICE

Its namespace answers the probes; this process only reads them, and sends requests from the peers' addresses, one a
second and peer. Peers are those that an agent probes. It reads commands, one a line: `forget` lets it forget all peers
until they are probed again, `report` changes nothing. It answers each with a line of JSON: how many probes it has read
(`probes`), how many of these name a request of the peer (`naming`), how many requests it has `sent` since its start,
and for how many packets its socket had no room (`dropped`).
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator

from monlat_ebpf.sources.raw_sockets import BPF_INSTRUCTION, BPF_RETURN, attach_filter
from testkit.packets import address_of
from testkit.peer_agents import SILENT_NS, PeerAgent, PeerAgents

TICK_NS = 10_000_000
TICKS = 100  # a second: every peer has one of them
_STRIDE = 37  # has no common divisor with TICKS, so that peers next to each other are far apart in time

_ALL_PROTOCOLS = 3  # ETH_P_ALL, linux/if_ether.h
_SOL_PACKET = 263
_PACKET_STATISTICS = 6  # linux/if_packet.h
_PACKET_IGNORE_OUTGOING = 23
_RCVBUFFORCE = 33  # asm-generic/socket.h
_BUFFER_BYTES = 1 << 25  # a second of 10,000 probes at 2 KiB, and spare

_LOAD_BYTE_AT, _AND, _IF_EQUAL = 0x30, 0x54, 0x15  # linux/bpf_common.h
_REQUESTS_ONLY = b"".join(
    BPF_INSTRUCTION.pack(*step)
    for step in (
        (_LOAD_BYTE_AT, 0, 0, 0),
        (_AND, 0, 0, 0xF0),
        (_IF_EQUAL, 0, 4, 0x40),  # else IPv6, four steps further
        (_LOAD_BYTE_AT, 0, 0, 9),
        (_IF_EQUAL, 0, 8, socket.IPPROTO_ICMP),
        (_LOAD_BYTE_AT, 0, 0, 20),
        (_IF_EQUAL, 5, 6, 8),  # an echo request
        (_IF_EQUAL, 0, 5, 0x60),
        (_LOAD_BYTE_AT, 0, 0, 6),
        (_IF_EQUAL, 0, 3, socket.IPPROTO_ICMPV6),
        (_LOAD_BYTE_AT, 0, 0, 40),
        (_IF_EQUAL, 0, 1, 128),  # an echo request
        (BPF_RETURN, 0, 0, 0xFFFF),
        (BPF_RETURN, 0, 0, 0),
    )
)
"""Echo requests without IP options or extension headers; other packets never reach the socket's queue."""


class Listener:
    """A packet socket that reads the echo requests that come in through a device, from the IP header on."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER_BYTES)
        attach_filter(self._socket, _REQUESTS_ONLY)
        self._socket.bind((device, _ALL_PROTOCOLS))
        self._socket.setblocking(False)
        self._dropped = 0

    def packets(self) -> Iterator[bytes]:
        """Yield what has come since the last call."""
        while True:
            try:
                yield self._socket.recv(2048)
            except BlockingIOError:
                return

    def dropped(self) -> int:
        """Return how many packets did not fit into the queue (packet(7), PACKET_STATISTICS)."""
        _, drops = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._dropped += drops  # the kernel counts from zero after each question
        return self._dropped


class Sender:
    """Sends whole IP packets, from whatever address they name."""

    def __init__(self) -> None:
        raw = socket.IPPROTO_RAW  # with this protocol the kernel expects the IP header in the packet: raw(7)
        self._sockets = {
            size: socket.socket(family, socket.SOCK_RAW, raw)
            for size, family in ((4, socket.AF_INET), (16, socket.AF_INET6))
        }
        self.sent = 0

    def send(self, packet: bytes, destination: bytes) -> None:
        """Send `packet` to `destination`, 4 or 16 bytes."""
        self._sockets[len(destination)].sendto(packet, (str(address_of(destination)), 0))
        self.sent += 1


class Process:
    """The peers that were met, each with its turn within the second."""

    def __init__(self, device: str) -> None:
        self._listener, self._sender = Listener(device), Sender()
        self.forget()

    def forget(self) -> None:
        """Forget all peers and counts; a peer is met again at its next probe."""
        self._agents = PeerAgents()
        self._turns: list[list[PeerAgent]] = [[] for _ in range(TICKS)]
        self._met = 0

    def report(self) -> dict[str, int]:
        """Return the counts."""
        agents = self._agents
        counts = {"probes": agents.probes, "naming": agents.naming}
        return counts | {"sent": self._sender.sent, "dropped": self._listener.dropped()}

    def serve(self, tick: int) -> None:
        """Read what has come, and send the requests whose turn it is."""
        now_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        for packet in self._listener.packets():
            if new := self._agents.receive(packet, now_ns, wall_ns):
                self._turns[self._met * _STRIDE % TICKS].append(new)
                self._met += 1
        for peer in self._turns[tick]:
            if now_ns - peer.seen_ns < SILENT_NS:
                self._sender.send(peer.request(), peer.prober)


def main() -> None:
    """Be the peers until the standard input ends."""
    process, tick, due_ns = Process(sys.argv[1]), 0, time.monotonic_ns()
    while True:
        wait_ns = due_ns - time.monotonic_ns()
        if select.select([sys.stdin], [], [], max(wait_ns, 0) / 1e9)[0]:
            command = sys.stdin.readline().strip()
            if not command:
                return
            if command == "forget":
                process.forget()
            sys.stdout.write(json.dumps(process.report()) + "\n")
            sys.stdout.flush()
        else:
            process.serve(tick)
            tick, due_ns = (tick + 1) % TICKS, due_ns + TICK_NS


if __name__ == "__main__":
    main()
