"""The agents of thousands of peers, as far as the one agent that probes them can tell. Pure.

A peer is an address that the agent probes. It sends requests of its own with feedback on the agent's last probe: which
one it was (nonce), when it came (t2), how long the answer took (dwell), and which probes before it came (bpf/monlat.h,
struct payload). The first such request proves the peer's stream, because it names a live probe.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from monlat_ebpf.abi import echo, layout
from testkit import packets

IDENTIFIER = 0x6D70
DWELL_NS = 1_000  # reported of every probe: shorter than any RTT, or the report would be rejected
SILENT_NS = 3_000_000_000  # an agent that sent nothing for so long has ended

_MAGIC_AND_VERSION = struct.pack("<IB", layout.PAYLOAD_MAGIC, layout.PAYLOAD_VERSION)
_FEEDBACK = struct.Struct(layout.FEEDBACK.format)
_BITS = 16  # of `before` in struct feedback
_ALL_BITS = (1 << _BITS) - 1
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1
_RANDOM_NONCE_BITS = 60  # above those of the position


@dataclass(slots=True)
class PeerAgent:
    """What the agent at one address has seen of the agent that probes it, and what it has sent.

    `prober` is that agent's address in 4 or 16 bytes, `probing_stream` its stream to this peer. Of its probes,
    `sequence` and `nonce` are those of the newest, which came at `received_ns` of the wall clock, `seen_ns` of the
    monotonic one. Bit i of `before` says that the probe i + 1 sequences earlier came too; `known` bits say anything.
    """

    address: bytes
    prober: bytes = b""
    probing_stream: int = 0
    sequence: int = 0
    nonce: int = 0
    received_ns: int = 0
    seen_ns: int = 0
    before: int = 0
    known: int = 0
    stream: int = field(default_factory=lambda: random.getrandbits(63) + 1)
    requests: int = 0
    nonces: list[int] = field(default_factory=lambda: [0] * layout.PROBES_PER_TARGET)

    def receive(self, probe: layout.Record, prober: bytes, now_ns: int, wall_ns: int) -> None:
        """Take a probe of the agent, as layout.PAYLOAD reads it. A probe that a newer one overtook is only noted."""
        if probe.stream != self.probing_stream:  # the agent was started again
            self.probing_stream, self.before, self.known = probe.stream, 0, 0
        else:
            ahead = (probe.sequence - self.sequence) & _U32
            behind = -ahead & _U32
            if ahead == 0 or ahead > 1 << 31:
                self.before |= (1 << behind) >> 1 if behind <= _BITS else 0
                return
            self.before = (self.before << ahead | 1 << (ahead - 1)) & _ALL_BITS if ahead <= _BITS else 0
            self.known = min(self.known + ahead, _BITS)
        self.prober, self.sequence, self.nonce = prober, probe.sequence, probe.nonce
        self.received_ns, self.seen_ns = wall_ns, now_ns

    def has_sent(self, nonce: int) -> bool:
        """Whether one of the last requests had that nonce."""
        return nonce != 0 and self.nonces[nonce % layout.PROBES_PER_TARGET] == nonce

    def request(self) -> bytes:
        """Return the next request to the agent, a whole IP packet."""
        number = self.requests
        self.requests += 1
        position = number % layout.PROBES_PER_TARGET
        nonce = (random.getrandbits(_RANDOM_NONCE_BITS) or 1) << 4 | position
        self.nonces[position] = nonce
        report = _FEEDBACK.pack(self.nonce, self.received_ns & _U64, DWELL_NS, self.before, 0)
        payload = echo.payload(0, number, nonce, echo.Feedback(report, self.known, self.stream))
        kind = packets.ECHO_REQUEST[packets.version_of(self.address)]
        message = packets.icmp(self.address, self.prober, kind, 0, IDENTIFIER << 16 | number & 0xFFFF, payload)
        return packets.ip(self.address, self.prober, message)


class PeerAgents:
    """All peers that have been probed, by address. `probes` counts probes, `naming` those that name a request of ours.

    A probe names a request when the agent's kernel program has taken that request for one of a peer.
    """

    def __init__(self) -> None:
        self._peers: dict[bytes, PeerAgent] = {}
        self.probes = 0
        self.naming = 0

    def receive(self, packet: bytes, now_ns: int, wall_ns: int) -> PeerAgent | None:
        """Take an IP packet. Return the peer if it is a probe of an agent, and the first one to that address."""
        request = packets.parse_echo_request(packet)
        if request is None or len(request.payload) != layout.PAYLOAD.size:
            return None
        if not request.payload.startswith(_MAGIC_AND_VERSION):
            return None
        probe = layout.PAYLOAD.read(request.payload)
        if probe.stream == 0:
            return None
        peer = self._peers.get(request.destination)
        is_first = peer is None
        if peer is None:
            peer = self._peers[request.destination] = PeerAgent(request.destination)
        peer.receive(probe, request.source, now_ns, wall_ns)
        self.probes += 1
        self.naming += peer.has_sent(probe.feedback.nonce)
        return peer if is_first else None
