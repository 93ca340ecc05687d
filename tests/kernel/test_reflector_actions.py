"""The reflector does to each request what its plan says."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address

import pytest

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.namespace import Namespace
from testkit.actions import (
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
from testkit.plan import Plan, Rule
from testkit.reflector import Reflector
from tests.kernel.reflected import (
    DEADLINE_SECONDS,
    FAULTY,
    IDENTIFIER,
    IPV4,
    IPV6,
    MILLISECOND,
    PLAIN,
    REQUESTS,
    Family,
    checksum_fits,
    ends,
    exchange,
    payload_of,
    third,
)


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


def test_reorder_swaps_adjacent_answers(namespace: Namespace, family: Family) -> None:
    """Every third answer comes after its successor; the last one, which has none, never comes."""
    seen = exchange(namespace, family, Plan.cycle([Answer(), Reorder(), Answer()]))
    swapped = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 18, 20, 19, 21]
    assert seen.sequences(family) == swapped
    assert seen.records[22].written_ns == ()
    assert seen.counts == {Answer(): 15, Reorder(): 8}


def test_extra_delay_adds_to_the_plans_delay(namespace: Namespace, family: Family) -> None:
    """8 of 23 answers come 50 ms later than the plan's 2 ms, in the order of the reflector's records; none is lost."""
    late = Answer(extra_ns=50 * MILLISECOND)
    seen = exchange(namespace, family, Plan(2 * MILLISECOND, (Rule(late, 3, 1),)))
    assert seen.sequences(family) == sorted(range(REQUESTS), key=lambda number: seen.records[number].written_ns)
    for record in seen.records:
        assert record.turnaround_ns >= (52 if record.action == late else 2) * MILLISECOND


def test_flipped_nonce_has_a_right_checksum(namespace: Namespace, family: Family) -> None:
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
    """8 of 23 answers have their last byte flipped, so their checksums are wrong; all others are right."""
    seen = exchange(namespace, family, third(CorruptByte()))
    assert [number for number, answer in enumerate(seen.answers) if not checksum_fits(answer, family)] == FAULTY
    assert {seen.answers[number][-8:] for number in FAULTY} == {b"padding\xde"}  # "!" is 0x21
    assert len(seen.answers) == REQUESTS


def test_wrong_address_answers_for_another(namespace: Namespace, family: Family) -> None:
    """8 of 23 answers come from the adjacent address, checksums right."""
    seen = exchange(namespace, family, third(WrongAddress()))
    sources = [ends(answer, family)[0] for answer in seen.answers]
    assert sources == [family.adjacent if number in FAULTY else family.target for number in range(REQUESTS)]
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
    plan = Plan(rules=(Rule(IcmpError(kind, code, source=family.adjacent)),))
    with Reflector(namespace, plan):
        output = namespace.run(["ping", "-n", "-c", "7", "-i", "0.01", "-W", "5", family.target]).stdout
    text = "Destination Host Unreachable" if family is IPV4 else "Destination unreachable: No route"
    lines = [line for line in output.splitlines() if text in line]
    assert len(lines) == 7
    assert all(line.startswith(f"From {family.adjacent} ") for line in lines)


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


def test_ping_accepts_answers_with_ip_options(namespace: Namespace, family: Family) -> None:
    """All of 7 answers have a longer IP header, and iputils ping counts each."""
    with Reflector(namespace, Plan(rules=(Rule(AddOptions()),))):
        summary = namespace.run(["ping", "-n", "-c", "7", "-i", "0.01", "-W", "5", family.target]).stdout
    assert " 7 received" in summary
    seen = exchange(namespace, family, third(AddOptions()))
    if family is IPV4:
        assert [answer[0] & 15 for answer in seen.answers] == [6 if n in FAULTY else 5 for n in range(REQUESTS)]
    else:
        assert [answer[6] for answer in seen.answers] == [60 if n in FAULTY else 58 for n in range(REQUESTS)]


def test_first_fragment_alone_is_no_answer(namespace: Namespace, family: Family) -> None:
    """All of 7 answers are first fragments: ping receives none of them and reports no error."""
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
    """The kernel takes 7 answers in frames with a priority tag, and none of 7 of VLAN 5, which no interface has."""
    others = ip_address(family.adjacent)
    plan = Plan(rules=(Rule(Tag(vlan=5), address=others), Rule(Tag(priority=6))))
    with Reflector(namespace, plan, kind="tap") as reflector:
        command = ["ping", "-n", "-c", "7", "-i", "0.01"]
        assert " 7 received" in namespace.run([*command, "-W", "5", family.target]).stdout
        assert " 0 received" in namespace.run([*command, "-W", "0.2", family.adjacent]).stdout
        reflector.stop()
    assert reflector.counts == {Tag(priority=6): 7, Tag(vlan=5): 7}


def test_tag_is_in_the_frame(namespace: Namespace) -> None:
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
    """A plan with a VLAN tag on a TUN device is an error before any device is made."""
    with pytest.raises(TestbedError, match="a TUN device carries no VLAN tags"):
        Reflector(namespace, third(Tag()))
