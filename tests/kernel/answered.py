"""A loaded program, a probe that the test sends and answers, and the wire that peers and strangers write to."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

from monlat_ebpf.abi import echo, layout
from monlat_ebpf.abi.probes import Stamps, TableSize, mapped
from monlat_ebpf.abi.sessions import Sessions
from monlat_ebpf.model import Family
from monlat_ebpf.sources import Destination
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace
from testkit import packets
from testkit.device import RawDevice
from testkit.reflector import ADDRESSES

OURS = {4: "10.99.0.1", 6: "fd99::1"}
PEER = {4: "10.99.7.7", 6: "fd99::7:7"}
OTHER_PEER = {4: "10.99.8.8", 6: "fd99::8:8"}
STRANGER = {4: "10.99.9.9", 6: "fd99::9:9"}
TARGET, OTHER_TARGET, TARGETS = 1, 2, 3
PROBE_NONCE = 0x1122334455667780 | 5  # position 5 within its target
STREAM = 0x8877665544332211
PROBE_SLOT = TARGET * layout.PROBES_PER_TARGET + 5
WHOLE_DAY_NS = 86_400 * 10**9
HOUR_NS = 3_600 * 10**9


def feedback(
    nonce: int,
    received_ns: int,
    dwell_ns: int,
    before: int = 0,
    after: int = 0,
    *,
    known: int = 0,
    stream: int = STREAM,
) -> echo.Feedback:
    return echo.Feedback(struct.pack("<QQIHH", nonce, received_ns, dwell_ns, before, after), known, stream)


NOTHING = echo.Feedback(stream=STREAM)


@dataclass(frozen=True, slots=True)
class Bed:
    """`version` is the IP version that `send` and `ask` use."""

    version: int
    namespace: Namespace
    source: TracepointSource
    device: RawDevice
    wire: list[bytes] = field(default_factory=list)

    @property
    def sessions(self) -> Sessions:
        return self.source.sessions

    @property
    def stamps(self) -> Stamps:
        return self.source.table.stamps(PROBE_SLOT)

    @property
    def rtt_ns(self) -> int:
        return self.stamps.received_ns - self.stamps.transmitted_ns

    def wall_ns(self) -> int:
        return time.time_ns()

    def send(self, *, nonce: int = PROBE_NONCE, timeout_ns: int = WHOLE_DAY_NS) -> None:
        """Send a probe to the peer."""
        now, address = time.monotonic_ns(), ip_address(PEER[self.version])
        slot = TARGET * layout.PROBES_PER_TARGET + nonce % layout.PROBES_PER_TARGET
        self.source.table.arm(slot, nonce=nonce, sent_ns=now, deadline_ns=now + timeout_ns, address=mapped(address))
        with self.namespace.entered():
            self.source.send(echo.echo_request(Family.of(address), 7, slot, 5, nonce), Destination(address))

    def answer(self, *, nonce: int = PROBE_NONCE) -> None:
        """Let the peer answer it."""
        slot = TARGET * layout.PROBES_PER_TARGET + nonce % layout.PROBES_PER_TARGET
        payload = echo.payload(slot, 5, nonce)
        self.device.inject([packets.echo_reply(PEER[self.version], OURS[self.version], 7, 5, payload)])

    def prove(self, target: int = TARGET) -> None:
        """Let the stream of `ask` be one that has proved itself to the kernel program."""
        memory = self.sessions._sessions
        layout.SESSION.nested("first", layout.STREAM).write(memory, target, STREAM, *(0,) * 5)

    def request(self, nonce: int, sequence: int, said: echo.Feedback, peer: Mapping[int, str] = PEER) -> bytes:
        """Return a request of a peer's agent."""
        payload = echo.payload(0, sequence, nonce, said)
        return packets.echo_request(peer[self.version], OURS[self.version], 9, sequence & 0xFFFF, payload)

    def ask(self, nonce: int, sequence: int, said: echo.Feedback = NOTHING, peer: Mapping[int, str] = PEER) -> None:
        """Let a peer's request arrive; the kernel answers it before this returns."""
        self.device.inject([self.request(nonce, sequence, said, peer)])

    def be_silent(self) -> None:
        """Stop answering requests."""
        self.namespace.sysctl("net.ipv4.icmp_echo_ignore_all", 1)
        self.namespace.sysctl("net.ipv6.icmp.echo_ignore_all", 1)

    def sent_to(self, address: str) -> list[bytes]:
        """Read from the wire all that was sent so far, and return the packets to `address`."""
        self.wire.extend(arrived(self.device))
        whole, at = packets.packed(address), {4: 16, 6: 24}[self.version]
        return [each for each in self.wire if each[at : at + len(whole)] == whole]

    def rejected(self) -> dict[str, int]:
        return {reason: count for reason, count in self.sessions.rejected_feedback().items() if count}

    def network_rtts(self) -> list[int]:
        """Samples of the network RTT of each target."""
        return [self.sessions.network_rtt(target).count for target in range(TARGETS)]

    def dwells(self) -> list[int]:
        """Samples of this node's dwell of each target."""
        return [self.sessions.dwell(target).count for target in range(TARGETS)]


def arrived(device: RawDevice) -> Iterator[bytes]:
    """Yield the packets that the namespace has sent and nobody has read yet."""
    os.set_blocking(device.descriptor, False)
    with suppress(BlockingIOError):
        while True:
            yield os.read(device.descriptor, 65536)


def feedback_to_peer(bench: Bed, target: int = TARGET, *, turn: int = 0) -> tuple[int, ...]:
    """Return the feedback in the next request to the peer: nonce, t2, dwell, before, after."""
    fields: tuple[int, ...] = struct.unpack("<QQIHH", bench.sessions.feedback(target, 0, turn=turn).report)
    return fields


@contextmanager
def bed(version: int) -> Iterator[Bed]:
    with Namespace("agent") as namespace, RawDevice(namespace, ADDRESSES) as device:
        with namespace.entered():
            source = TracepointSource(TableSize(TARGETS))
        try:
            known = ((PEER, TARGET), (OTHER_PEER, OTHER_TARGET))
            addresses = {mapped(ip_address(address[version])): target for address, target in known}
            assert source.sessions.set_peer_index(addresses) == 0
            source.sessions.set_wall_offset(time.time_ns() - time.monotonic_ns())
            made = Bed(version, namespace, source, device)
            made.prove()
            yield made
        finally:
            source.close()
