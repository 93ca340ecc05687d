"""The header before an IP packet on the descriptor of a TUN or TAP device."""

from __future__ import annotations

import struct
from typing import Literal

MAC = bytes.fromhex("020000000099")  # locally administered; of both ends of a TAP device's wire
ETHERTYPE = {4: 0x0800, 6: 0x86DD}
ETHERTYPE_VLAN = 0x8100
ETHERNET_HEADER_BYTES = 14
IPV6_HEADER_BYTES = 40
CHECKSUM_AT = 2  # in an ICMP header
VIRTIO_HEADER = struct.Struct("=BBHHHH")  # struct virtio_net_hdr, linux/virtio_net.h
NEEDS_CHECKSUM = 1


class Framing:
    """Adds and removes headers: none for TUN, Ethernet for TAP."""

    def __init__(self, kind: Literal["tun", "tap"], owes_checksum: bool = False) -> None:
        """With `owes_checksum` the device has IFF_VNET_HDR, and each frame to write says that its echo lacks one."""
        self.kind = kind
        self._owes_checksum = owes_checksum

    def packet(self, frame: bytes) -> bytes:
        """Return the IP packet of a frame that was read."""
        start = VIRTIO_HEADER.size if self._owes_checksum else 0
        return frame[start:] if self.kind == "tun" else frame[start + ETHERNET_HEADER_BYTES :]

    def frame(self, packet: bytes, tag: int | None = None) -> bytes:
        """Return the frame to write for an IP packet, with an 802.1Q tag control word if asked."""
        if self.kind == "tun":
            return packet
        vlan = b"" if tag is None else struct.pack("!HH", ETHERTYPE_VLAN, tag)
        before = MAC + MAC + vlan + struct.pack("!H", ETHERTYPE[packet[0] >> 4])
        if self._owes_checksum:
            echo = (packet[0] & 15) * 4 if packet[0] >> 4 == 4 else IPV6_HEADER_BYTES
            without = packet[: echo + CHECKSUM_AT] + bytes(2) + packet[echo + CHECKSUM_AT + 2 :]
            return VIRTIO_HEADER.pack(NEEDS_CHECKSUM, 0, 0, 0, len(before) + echo, CHECKSUM_AT) + before + without
        return before + packet
