"""The reflector does to each request what its plan says, when it says, and records it."""

from __future__ import annotations

import os
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import pytest

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.actions import (
    Action,
    AddOptions,
    Answer,
    CorruptByte,
    Double,
    Drop,
    FlipNonce,
    Fragment,
    IcmpError,
    Reorder,
    Tag,
    TruncatePayload,
    WrongAddress,
)
from monlat_ebpf.testbed.device import RawDevice
from monlat_ebpf.testbed.links import Links
from monlat_ebpf.testbed.namespace import Namespace
from monlat_ebpf.testbed.packets import echo_reply
from monlat_ebpf.testbed.plan import Plan, Record, Rule
from monlat_ebpf.testbed.reflector import Reflector

DEADLINE_SECONDS = 30
REQUESTS = 23
FAULTY = [1, 4, 7, 10, 13, 16, 19, 22]  # every third, beginning with the second
PLAIN = [number for number in range(REQUESTS) if number not in FAULTY]
MILLISECOND = 1_000_000
IDENTIFIER = 0x4D4C


@dataclass(frozen=True)
class Family:
    """Addresses and header facts of one IP version, written down here and not taken from the package."""

    name: str
    own: str
    target: str
    neighbour: str  # the target's address with its last bit flipped
    fence: str
    ip_header: int
    request_kind: int
    reply_kind: int


IPV4 = Family("ipv4", "10.99.0.1", "10.99.7.2", "10.99.7.3", "10.99.200.1", 20, 8, 0)
IPV6 = Family("ipv6", "fd99::1", "fd99::7:2", "fd99::7:3", "fd99::200:1", 40, 128, 129)


@pytest.fixture(params=[IPV4, IPV6], ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> Family:
    assert isinstance(request.param, Family)
    return request.param


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace("agent") as namespace:
        yield namespace


@dataclass(frozen=True)
class Seen:
    """What arrived at the interface, packet by packet, and what the reflector recorded."""

    requests: list[bytes]
    answers: list[bytes]
    records: list[Record]
    counts: dict[Action, int]

    def sequences(self, family: Family) -> list[int]:
        return [int.from_bytes(packet[family.ip_header + 6 : family.ip_header + 8], "big") for packet in self.answers]


def payload_of(number: int) -> bytes:
    """56 bytes as DESIGN section 4 writes them: nonce 1000 + number, sequence 500 + number."""
    head = struct.pack("<4sBBHIIQ", b"mnlt", 1, 0, 0, 3, 500 + number, 1000 + number)
    return head.ljust(48, b"\0") + b"padding!"


def send_request(sock: socket.socket, family: Family, address: str, number: int) -> None:
    message = struct.pack("!BBHHH", family.request_kind, 0, 0, IDENTIFIER, number) + payload_of(number)
    if family is IPV4:  # the kernel fills in ICMPv6 checksums only
        message = message[:2] + struct.pack("!H", ones_complement_sum(message) ^ 0xFFFF) + message[4:]
    sock.sendto(message, (address, 0))


def ones_complement_sum(data: bytes) -> int:
    """RFC 1071, word by word; 0xffff when a right checksum stands in the data."""
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
    """Send 23 requests at once and return all that happened until the last answer that is to come.

    The end is marked by the answer of one more address, asked last: the reflector writes answers in the order
    in which they are due, and this one is due 60 ms later than the plan's delay, after all others.
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


def test_plain_answers_are_what_a_kernel_would_send(namespace: Namespace, family: Family) -> None:
    """23 requests get 23 answers with their own identifier, sequence and payload, from the address asked."""
    seen = exchange(namespace, family, Plan())
    assert seen.sequences(family) == list(range(REQUESTS))
    for number, answer in enumerate(seen.answers):
        expected = struct.pack("!HH", IDENTIFIER, number) + payload_of(number)
        assert answer[family.ip_header :][:2] == bytes([family.reply_kind, 0])
        assert answer[family.ip_header + 4 :] == expected
        assert ends(answer, family) == (family.target, family.own)
        assert checksum_fits(answer, family)
    assert seen.counts == {Answer(): 23}


def test_records_name_each_request(namespace: Namespace, family: Family) -> None:
    """A record holds the address asked, the payload's nonce and sequence, and instants in order."""
    seen = exchange(namespace, family, Plan(delay_ns=MILLISECOND))
    assert [(str(record.address), record.nonce, record.sequence) for record in seen.records] == [
        (family.target, 1000 + number, 500 + number) for number in range(REQUESTS)
    ]
    assert all(len(record.written_ns) == 1 and record.turnaround_ns >= MILLISECOND for record in seen.records)
    reads = [record.read_ns for record in seen.records]
    assert reads == sorted(reads)


def test_drop_answers_nothing(namespace: Namespace, family: Family) -> None:
    """8 of 23 requests are dropped by plan, and just those get no answer."""
    seen = exchange(namespace, family, third(Drop()))
    assert seen.sequences(family) == PLAIN
    assert seen.counts == {Drop(): 8, Answer(): 15}
    assert [number for number, record in enumerate(seen.records) if record.written_ns == ()] == FAULTY


def test_double_answers_twice(namespace: Namespace, family: Family) -> None:
    """8 of 23 requests get a second answer, equal to the first, 3 ms after it."""
    seen = exchange(namespace, family, third(Double(3 * MILLISECOND)))
    assert sorted(seen.sequences(family)) == sorted([*range(REQUESTS), *FAULTY])
    assert len(set(seen.answers)) == REQUESTS
    doubled = [record for record in seen.records if record.action == Double(3 * MILLISECOND)]
    assert [record.nonce - 1000 for record in doubled] == FAULTY
    for record in doubled:
        first, second = record.written_ns
        assert first < second
        assert second - record.read_ns >= 3 * MILLISECOND


def test_reorder_swaps_neighbours(namespace: Namespace, family: Family) -> None:
    """Every third answer comes after its successor; the last one, which has none, never comes."""
    seen = exchange(namespace, family, Plan.cycle([Answer(), Reorder(), Answer()]))
    swapped = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 18, 20, 19, 21]
    assert seen.sequences(family) == swapped
    assert seen.records[22].written_ns == ()
    assert seen.counts == {Answer(): 15, Reorder(): 8}


def test_delay_adds_to_the_plan_s(namespace: Namespace, family: Family) -> None:
    """8 of 23 answers come 50 ms later than the plan's 2 ms, after all others, and none is lost."""
    late = Answer(extra_ns=50 * MILLISECOND)
    seen = exchange(namespace, family, Plan(2 * MILLISECOND, (Rule(late, 3, 1),)))
    assert seen.sequences(family) == PLAIN + FAULTY
    for record in seen.records:
        assert record.turnaround_ns >= (52 if record.action == late else 2) * MILLISECOND


def test_flip_nonce_forges_with_a_right_checksum(namespace: Namespace, family: Family) -> None:
    """8 of 23 answers carry another nonce and nothing else is wrong with them."""
    seen = exchange(namespace, family, third(FlipNonce()))
    nonce = slice(family.ip_header + 8 + 16, family.ip_header + 8 + 24)
    for number, answer in enumerate(seen.answers):
        flipped = (1000 + number) ^ (2**64 - 1) if number in FAULTY else 1000 + number
        assert answer[nonce] == flipped.to_bytes(8, "little")
        assert checksum_fits(answer, family)
        assert answer[family.ip_header + 8 : nonce.start] == payload_of(number)[:16]
    assert len(seen.answers) == REQUESTS


def test_corrupt_byte_breaks_the_checksum(namespace: Namespace, family: Family) -> None:
    """8 of 23 answers have their last byte flipped, and only their checksums do not fit."""
    seen = exchange(namespace, family, third(CorruptByte()))
    assert [number for number, answer in enumerate(seen.answers) if not checksum_fits(answer, family)] == FAULTY
    assert {seen.answers[number][-8:] for number in FAULTY} == {b"padding\xde"}  # "!" is 0x21
    assert len(seen.answers) == REQUESTS


def test_wrong_address_answers_for_another(namespace: Namespace, family: Family) -> None:
    """8 of 23 answers come from the neighbouring address, checksums right."""
    seen = exchange(namespace, family, third(WrongAddress()))
    sources = [ends(answer, family)[0] for answer in seen.answers]
    assert sources == [family.neighbour if number in FAULTY else family.target for number in range(REQUESTS)]
    assert all(checksum_fits(answer, family) for answer in seen.answers)
    assert {str(record.address) for record in seen.records} == {family.target}


@pytest.mark.parametrize("quoted_payload", [None, 0, 20], ids=["whole", "headers", "half the payload"])
@pytest.mark.parametrize(
    ("family", "kind", "code", "value"),
    [
        pytest.param(IPV4, 3, 1, 0, id="host unreachable"),
        pytest.param(IPV4, 3, 4, 1400, id="fragmentation needed"),
        pytest.param(IPV4, 11, 0, 0, id="time exceeded"),
        pytest.param(IPV6, 1, 0, 0, id="no route"),
        pytest.param(IPV6, 2, 0, 1400, id="packet too big"),
        pytest.param(IPV6, 3, 0, 0, id="hop limit exceeded"),
    ],
)
def test_icmp_errors_quote_the_request(
    namespace: Namespace, family: Family, kind: int, code: int, value: int, quoted_payload: int | None
) -> None:
    """8 of 23 requests are answered with an ICMP error that quotes as much of them as the plan says."""
    quote = None if quoted_payload is None else family.ip_header + 8 + quoted_payload
    seen = exchange(namespace, family, third(IcmpError(kind, code, quote, value)))
    errors = [answer for answer in seen.answers if answer[family.ip_header] == kind]
    assert len(errors) == 8
    assert len(seen.answers) == REQUESTS
    for number, error in zip(FAULTY, errors, strict=True):
        assert error[family.ip_header + 1] == code
        assert error[family.ip_header + 4 : family.ip_header + 8] == value.to_bytes(4, "big")
        assert error[family.ip_header + 8 :] == seen.requests[number][:quote]
        assert checksum_fits(error, family)


def test_ping_understands_the_error(namespace: Namespace, family: Family) -> None:
    """iputils ping reports each of 7 errors as one, from the router that the plan names."""
    kind, code = (3, 1) if family is IPV4 else (1, 0)
    plan = Plan(rules=(Rule(IcmpError(kind, code, source=family.neighbour)),))
    with Reflector(namespace, plan):
        output = namespace.run(["ping", "-n", "-c", "7", "-i", "0.01", "-W", "1", family.target]).stdout
    text = "Destination Host Unreachable" if family is IPV4 else "Destination unreachable: No route"
    lines = [line for line in output.splitlines() if text in line]
    assert len(lines) == 7
    assert all(line.startswith(f"From {family.neighbour} ") for line in lines)


def test_truncated_payload_is_consistent(namespace: Namespace, family: Family) -> None:
    """8 of 23 answers carry 13 bytes of payload; lengths and checksums agree with that."""
    seen = exchange(namespace, family, third(TruncatePayload(13)))
    for number, answer in enumerate(seen.answers):
        length = 13 if number in FAULTY else 56
        assert answer[family.ip_header + 8 :] == payload_of(number)[:length]
        stated = int.from_bytes(answer[2:4] if family is IPV4 else answer[4:6], "big")
        assert stated == length + 8 + (family.ip_header if family is IPV4 else 0)
        assert checksum_fits(answer, family)
    assert len(seen.answers) == REQUESTS


def test_answers_with_options_are_accepted(namespace: Namespace, family: Family) -> None:
    """All of 7 answers have a longer IP header, and iputils ping takes each for an answer."""
    with Reflector(namespace, Plan(rules=(Rule(AddOptions()),))):
        summary = namespace.run(["ping", "-n", "-c", "7", "-i", "0.01", "-W", "1", family.target]).stdout
    assert " 7 received" in summary
    seen = exchange(namespace, family, third(AddOptions()))
    if family is IPV4:
        assert [answer[0] & 15 for answer in seen.answers] == [6 if n in FAULTY else 5 for n in range(REQUESTS)]
    else:
        assert [answer[6] for answer in seen.answers] == [60 if n in FAULTY else 58 for n in range(REQUESTS)]


def test_a_fragment_waits_for_ever(namespace: Namespace, family: Family) -> None:
    """All of 7 answers are first fragments: ping gets none of them, and says nothing else is wrong."""
    with Reflector(namespace, Plan(rules=(Rule(Fragment()),))):
        summary = namespace.run(["ping", "-n", "-c", "7", "-i", "0.01", "-W", "0.2", family.target]).stdout
    assert "7 packets transmitted, 0 received, 100% packet loss" in summary
    seen = exchange(namespace, family, third(Fragment()))
    if family is IPV4:
        marks = [answer[6:8] == b"\x20\x00" for answer in seen.answers]
    else:
        marks = [answer[6] == 44 and answer[42:44] == b"\x00\x01" for answer in seen.answers]
    assert marks == [number in FAULTY for number in range(REQUESTS)]


def test_tagged_answers_reach_the_kernel(namespace: Namespace, family: Family) -> None:
    """7 answers in frames with a priority tag pass for answers, and 7 of VLAN 5, which nobody has, do not."""
    others = ip_address(family.neighbour)
    plan = Plan(rules=(Rule(Tag(vlan=5), address=others), Rule(Tag(priority=6))))
    with Reflector(namespace, plan, kind="tap") as reflector:
        command = ["ping", "-n", "-c", "7", "-i", "0.01", "-W", "0.2"]
        assert " 7 received" in namespace.run([*command, family.target]).stdout
        assert " 0 received" in namespace.run([*command, family.neighbour]).stdout
        reflector.stop()
    assert reflector.counts == {Tag(priority=6): 7, Tag(vlan=5): 7}


def test_a_frame_s_tag_stands_on_the_wire(namespace: Namespace) -> None:
    """The kernel reports the tag control word of a tagged answer: priority 6, VLAN 0."""
    with Reflector(namespace, Plan(rules=(Rule(Tag(priority=6)),)), kind="tap"):
        with namespace.entered():
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
        with wire:
            wire.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
            wire.bind(("reflect0", 0x0003))
            wire.settimeout(DEADLINE_SECONDS)
            namespace.run(["ping", "-c", "1", "-W", "1", IPV4.target])
            while True:
                packet, ancillary, _, _ = wire.recvmsg(2048, 128)
                if ends(packet, IPV4)[0] == IPV4.target:
                    break
    status, _, _, _, _, tag, protocol = struct.unpack("=IIIHHHH", ancillary[0][2])
    assert (status & 0x50, tag, protocol) == (0x50, 6 << 13, 0x8100)  # TCI and TPID are valid


def test_a_tag_needs_a_tap_device(namespace: Namespace) -> None:
    """A plan with a VLAN tag on a TUN device is refused before anything is made."""
    with pytest.raises(TestbedError, match="a TUN device carries no VLAN tags"):
        Reflector(namespace, third(Tag()))


@pytest.mark.parametrize("kind", ["tun", "tap"])
def test_ping_sees_the_delay_that_the_reflector_claims(
    namespace: Namespace, family: Family, kind: Literal["tun", "tap"]
) -> None:
    """Each of 23 round trips is as long as the reflector's own figure and, at the median, under 1 ms longer."""
    with Reflector(namespace, Plan(5 * MILLISECOND), kind=kind) as reflector:
        output = namespace.run(["ping", "-n", "-c", "23", "-i", "0.02", family.target]).stdout
        records = reflector.stop()
    round_trips = [float(line.split(" time=")[1].split()[0]) * MILLISECOND for line in output.splitlines()[1:24]]
    excess = [seen - record.turnaround_ns for seen, record in zip(round_trips, records, strict=True)]
    assert min(excess) > -0.05 * MILLISECOND  # half a digit of what ping prints above 10 ms
    assert 0 < statistics.median(excess) < MILLISECOND
    assert all(record.nonce == 0 and record.sequence == number for number, record in enumerate(records, start=1))


def test_answers_are_never_early_and_seldom_late(namespace: Namespace, family: Family) -> None:
    """Each of 101 answers, one request at a time, keeps its 2 ms: none early, the median within half of one."""
    with Reflector(namespace, Plan(2 * MILLISECOND)) as reflector:
        namespace.run(["ping", "-n", "-q", "-c", "101", "-i", "0.005", family.target])
        lateness = [record.turnaround_ns - 2 * MILLISECOND for record in reflector.stop()]
    assert len(lateness) == 101
    assert min(lateness) >= 0
    assert statistics.median(lateness) < MILLISECOND / 2


def test_a_rule_for_one_address_leaves_others_alone(namespace: Namespace, family: Family) -> None:
    """Requests are counted by address: the second to each is the one dropped, where the rule holds."""
    plan = Plan(rules=(Rule(Drop(), every=2, offset=1, address=ip_address(family.target)),))
    with Reflector(namespace, plan, spin=False, processor=0) as reflector:
        command = ["ping", "-n", "-c", "5", "-i", "0.01", "-W", "0.2"]
        assert " 3 received" in namespace.run([*command, family.target]).stdout
        assert " 5 received" in namespace.run([*command, family.neighbour]).stdout
        reflector.stop()
    assert reflector.counts == {Drop(): 2, Answer(): 8}


def test_a_downed_interface_is_counted_not_fatal(namespace: Namespace) -> None:
    """An answer due while the interface is down is counted as unwritten, and the next one goes out."""
    with Reflector(namespace, Plan(1000 * MILLISECOND)) as reflector, Links(namespace) as links:
        with namespace.popen(["ping", "-c", "1", "-W", "1.5", IPV4.target], stdout=subprocess.DEVNULL):
            wait_until(lambda: icmp_counter(namespace, "OutEchos") == 1)
            links.set_up("reflect0", up=False)
        links.set_up("reflect0")
        assert " 1 received" in namespace.run(["ping", "-c", "1", "-W", "5", IPV4.target]).stdout
        records = reflector.stop()
    assert [len(record.written_ns) for record in records] == [0, 1]
    assert reflector.unwritten == 1


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def icmp_counter(namespace: Namespace, name: str) -> int:
    with namespace.entered():
        text = Path("/proc/thread-self/net/snmp").read_text()
    names, values = (line.split() for line in text.splitlines() if line.startswith("Icmp:"))
    return int(values[names.index(name)])


def test_a_flood_arrives_whole(namespace: Namespace) -> None:
    """Of 99,991 injected answers that nobody asked for, the kernel counts every one."""
    packet = echo_reply(IPV4.target, IPV4.own, 1, 1, payload_of(0))
    with RawDevice(namespace, ["10.99.0.1/16"]) as device:
        assert device.inject(packet for _ in range(99_991)) == 99_991
    assert icmp_counter(namespace, "InEchoReps") == 99_991
    assert icmp_counter(namespace, "InErrors") == 0


def test_a_tap_device_takes_injected_packets(namespace: Namespace, family: Family) -> None:
    """Packets injected into a running reflector's TAP device reach the kernel's ICMP, 7 of 7."""
    with Reflector(namespace, kind="tap") as reflector:
        reflector.inject([echo_reply(family.target, family.own, 1, 1, payload_of(0))] * 7)
    if family is IPV4:
        assert icmp_counter(namespace, "InEchoReps") == 7
    else:
        counters = namespace.run(["cat", "/proc/net/snmp6"]).stdout.split()
        assert counters[counters.index("Icmp6InEchoReplies") + 1] == "7"


def test_a_killed_reflector_is_an_error(namespace: Namespace) -> None:
    """Records of a reflector that died cannot be had, and asking says with what status it ended."""
    with Reflector(namespace) as reflector:
        assert reflector.process_id is not None
        os.kill(reflector.process_id, signal.SIGKILL)
        with pytest.raises(TestbedError, match="the reflector ended with status -9"):
            reflector.stop()


def test_stopping_twice_gives_the_same_records(namespace: Namespace) -> None:
    """`stop` may be called again, and after it the interface is gone."""
    with Reflector(namespace) as reflector:
        namespace.run(["ping", "-c", "1", IPV4.target])
        assert len(reflector.stop()) == 1
        assert reflector.stop() is reflector.records
        assert "reflect0" not in namespace.run(["ip", "link"]).stdout


def test_the_reflector_dies_with_its_owner() -> None:
    """After SIGKILL of the process that started it, the reflector ends, though it never reads or writes."""
    owner_text = """
import sys
from monlat_ebpf.testbed.namespace import Namespace
from monlat_ebpf.testbed.reflector import Reflector
with Namespace() as namespace, Reflector(namespace) as reflector:
    print(reflector.process_id, flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", owner_text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        reflector = os.pidfd_open(int(owner.stdout.readline()))
        owner.kill()
    try:
        assert select.select([reflector], [], [], DEADLINE_SECONDS)[0] == [reflector]
    finally:
        os.close(reflector)
