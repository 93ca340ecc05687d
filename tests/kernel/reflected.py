"""Requests to the reflector, packet by packet, and its answers."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from monlat_ebpf.testbed.namespace import Namespace
from testkit.actions import (
    Action,
    Answer,
)
from testkit.plan import Plan, Record, Rule
from testkit.reflector import Reflector

DEADLINE_SECONDS = 30
REQUESTS = 23
FAULTY = [1, 4, 7, 10, 13, 16, 19, 22]  # every third, beginning with the second
PLAIN = [number for number in range(REQUESTS) if number not in FAULTY]
MILLISECOND = 1_000_000
IDENTIFIER = 0x4D4C


@dataclass(frozen=True)
class Family:
    """Addresses and header facts of one IP version, written here by hand and not taken from the package."""

    name: str
    own: str
    target: str
    adjacent: str  # the target's address with its last bit flipped
    fence: str
    ip_header: int
    request_kind: int
    reply_kind: int


IPV4 = Family("ipv4", "10.99.0.1", "10.99.7.2", "10.99.7.3", "10.99.200.1", 20, 8, 0)
IPV6 = Family("ipv6", "fd99::1", "fd99::7:2", "fd99::7:3", "fd99::200:1", 40, 128, 129)


@dataclass(frozen=True)
class Seen:
    """The packets at the interface, and the reflector's records."""

    requests: list[bytes]
    answers: list[bytes]
    records: list[Record]
    counts: dict[Action, int]

    def sequences(self, family: Family) -> list[int]:
        return [int.from_bytes(packet[family.ip_header + 6 : family.ip_header + 8], "big") for packet in self.answers]


def payload_of(number: int) -> bytes:
    """The 56 bytes of a probe, written here by hand: nonce 1000 + number, sequence 500 + number."""
    head = struct.pack("<4sBBHIIQ", b"mnlt", 1, 0, 0, 3, 500 + number, 1000 + number)
    return head.ljust(48, b"\0") + b"padding!"


def send_request(sock: socket.socket, family: Family, address: str, number: int) -> None:
    message = struct.pack("!BBHHH", family.request_kind, 0, 0, IDENTIFIER, number) + payload_of(number)
    if family is IPV4:  # the kernel fills in ICMPv6 checksums only
        message = message[:2] + struct.pack("!H", ones_complement_sum(message) ^ 0xFFFF) + message[4:]
    sock.sendto(message, (address, 0))


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071, word by word; 0xffff when the data contains a right checksum."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum_fits(packet: bytes, family: Family) -> bool:
    message = packet[family.ip_header :]
    pseudo = b"" if family is IPV4 else packet[8:40] + struct.pack("!II", len(message), 58)
    return ones_complement_sum(pseudo + message) == 0xFFFF


def exchange(namespace: Namespace, family: Family, plan: Plan) -> Seen:
    """Send 23 requests at once and return what happened until the last answer.

    A request to one more address, sent last, marks the end. The reflector writes answers in the order in which they are
    due, and the answer of that address is due 60 ms after the plan's delay, after all others.
    """
    fence = Rule(Answer(60 * MILLISECOND), address=ip_address(family.fence))
    with Reflector(namespace, Plan(plan.delay_ns, (fence, *plan.rules))) as reflector:
        requests, answers = send_and_listen(namespace, family)
        records = reflector.stop()
    records = [record for record in records if record.address == ip_address(family.target)]
    counts = reflector.counts
    assert counts.pop(fence.action) == 1
    return Seen(requests, answers, records, counts)


def send_and_listen(namespace: Namespace, family: Family) -> tuple[list[bytes], list[bytes]]:
    requests: list[bytes] = []
    answers: list[bytes] = []
    protocol = socket.IPPROTO_ICMP if family is IPV4 else socket.IPPROTO_ICMPV6
    with namespace.entered():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))  # ETH_P_ALL
        sender = socket.socket(socket.AF_INET if family is IPV4 else socket.AF_INET6, socket.SOCK_RAW, protocol)
    with wire, sender:
        wire.bind(("reflect0", 0x0003))
        wire.settimeout(DEADLINE_SECONDS)
        for number in range(REQUESTS):
            send_request(sender, family, family.target, number)
        send_request(sender, family, family.fence, 0)
        while True:
            packet, (_, _, direction, *_) = wire.recvfrom(65536)
            source, destination = ends(packet, family)
            if direction == socket.PACKET_OUTGOING and destination == family.target:
                requests.append(packet)
            elif direction != socket.PACKET_OUTGOING and source == family.fence:
                return requests, answers
            elif direction != socket.PACKET_OUTGOING:
                answers.append(packet)


def ends(packet: bytes, family: Family) -> tuple[str, str]:
    if packet[0] >> 4 != (4 if family is IPV4 else 6):
        return "", ""
    start, length = (12, 4) if family is IPV4 else (8, 16)
    middle, end = start + length, start + 2 * length
    return str(ip_address(packet[start:middle])), str(ip_address(packet[middle:end]))


def third(action: Action) -> Plan:
    return Plan(rules=(Rule(action, every=3, offset=1),))
