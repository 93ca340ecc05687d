"""Requests that the reflector sends with feedback, as a peer's agent would."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from monlat_ebpf.abi import echo, layout
from testkit import packets
from testkit.packets import EchoRequest

IDENTIFIER = 0x6D6C
STREAM = 0x6D6E6C74
_FEEDBACK = struct.Struct(layout.FEEDBACK.format)
_NANOSECONDS = (1 << 64) - 1
_NONCE_BITS = 60  # above the 4 bits of the position within a target


@dataclass(frozen=True, slots=True)
class EmulatedPeer:
    """`after_ns` after each answer, send a request with feedback on what was answered.

    The feedback divides the time between request and answer. t2 is `forward_ns` after the request was read, t3 is
    `return_ns` before the answer was written, and the dwell is the time between both. So the true network RTT is known
    to the nanosecond. The peer's wall clock is `clock_ns` ahead of this machine's.
    """

    forward_ns: int = 0
    return_ns: int = 0
    after_ns: int = 0
    clock_ns: int = 0

    def dwell_ns(self, turnaround_ns: int) -> int:
        """Return the dwell that is reported for an answer that took `turnaround_ns`."""
        return turnaround_ns - self.forward_ns - self.return_ns

    def request(self, asked: EchoRequest, number: int, read_ns: int, written_ns: int, wall_offset_ns: int) -> bytes:
        """Return the peer's `number`-th request, from 0, with feedback on `asked`, the request that was answered.

        `read_ns` and `written_ns` are of CLOCK_MONOTONIC; the wall clock is `wall_offset_ns` ahead of it.
        """
        nonce_of_asked = asked.probe[1] if asked.probe else 0
        received = read_ns + self.forward_ns + wall_offset_ns + self.clock_ns
        dwell = self.dwell_ns(written_ns - read_ns)
        feedback = _FEEDBACK.pack(nonce_of_asked, received & _NANOSECONDS, dwell, 0, 0)
        nonce = random.getrandbits(_NONCE_BITS) << 4 | number % layout.PROBES_PER_TARGET
        payload = echo.payload(0, number, nonce, echo.Feedback(feedback, stream=STREAM))
        kind = packets.ECHO_REQUEST[asked.version]
        identity = IDENTIFIER << 16 | number & 0xFFFF
        message = packets.icmp(asked.destination, asked.source, kind, 0, identity, payload)
        return packets.ip(asked.destination, asked.source, message)
