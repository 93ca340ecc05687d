"""The header before an IP packet on the descriptor of a TUN or TAP device."""

from __future__ import annotations

import struct
from typing import Literal

MAC = bytes.fromhex("020000000099")  # locally administered; of both ends of a TAP device's wire
ETHERTYPE = {4: 0x0800, 6: 0x86DD}
ETHERTYPE_VLAN = 0x8100
ETHERNET_HEADER_BYTES = 14


class Framing:
    """Adds and removes headers: none for TUN, Ethernet for TAP."""

    def __init__(self, kind: Literal["tun", "tap"]) -> None:
        self.kind = kind

    def packet(self, frame: bytes) -> bytes:
        """Return the IP packet of a frame that was read."""
        return frame if self.kind == "tun" else frame[ETHERNET_HEADER_BYTES:]

    def frame(self, packet: bytes, tag: int | None = None) -> bytes:
        """Return the frame to write for an IP packet, with an 802.1Q tag control word if asked."""
        if self.kind == "tun":
            return packet
        vlan = b"" if tag is None else struct.pack("!HH", ETHERTYPE_VLAN, tag)
        return MAC + MAC + vlan + struct.pack("!H", ETHERTYPE[packet[0] >> 4]) + packet
