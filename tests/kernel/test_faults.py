"""Every fault that the reflector injects ends as the right result and in its own counter, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from monlat_ebpf.model import PairSnapshot, Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit.actions import (
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
from testkit.plan import Plan
from testkit.reflector import Reflector
from testkit.waiting import wait_until
from tests.kernel.addresses import reflected_peers
from tests.kernel.measuring import Measurement

PEERS, IPV4_PEERS = 47, 24
MILLISECOND = 1_000_000


@dataclass(frozen=True)
class Case:
    """An action of the reflector, and what must become of each request that meets it."""

    name: str
    action: Action
    result: Result
    unmatched: dict[str, int] = field(default_factory=dict)
    late: int = 0
    duplicates: int = 0


CASES = (
    Case("answer", Answer(), Result.REPLY),
    Case("drop", Drop(), Result.LOST_NETWORK),
    Case("double at once", Double(), Result.REPLY, duplicates=1),
    Case("double later", Double(30 * MILLISECOND), Result.REPLY, duplicates=1),
    Case("past the deadline", Answer(450 * MILLISECOND), Result.LOST_NETWORK, late=1),
    Case("doubled past the deadline", Double(450 * MILLISECOND), Result.REPLY, duplicates=1),
    Case("nonce flipped", FlipNonce(), Result.LOST_NETWORK, {"nonce_mismatch": 1}),
    Case("byte flipped", CorruptByte(), Result.LOST_HOST, {"bad_checksum": 1}),
    Case("wrong address", WrongAddress(), Result.LOST_NETWORK, {"wrong_address": 1}),
    Case("payload cut after the nonce", TruncatePayload(24), Result.LOST_NETWORK, {"malformed_payload": 1}),
    Case("payload cut within the nonce", TruncatePayload(19), Result.LOST_NETWORK, {"malformed_payload": 1}),
    Case("IP options", AddOptions(), Result.REPLY),
    Case("fragment", Fragment(), Result.LOST_NETWORK),
)


def late_and_duplicates(pairs: Sequence[PairSnapshot]) -> tuple[int, int]:
    return sum(pair.late for pair in pairs), sum(pair.duplicates for pair in pairs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fault_is_counted_in_its_own_counter(case: Case) -> None:
    """47 probes of both families meet the fault: 47 times its result, its counters, and nothing else."""
    expected = (case.late * PEERS, case.duplicates * PEERS)
    with Namespace("agent") as namespace, Reflector(namespace, Plan.cycle([case.action])) as reflector:
        with Measurement(namespace, reflected_peers(PEERS), interval_seconds=2.0, timeout_seconds=0.4) as measurement:
            measurement.wait()
            wait_until(lambda: late_and_duplicates(measurement.pairs()) == expected)
            reflector.stop()
            pairs = measurement.pairs()
        assert measurement.results() == {case.result: PEERS}
        assert measurement.unmatched() == {
            # the kernel itself drops an IPv6 packet with a wrong checksum
            reason: count * (IPV4_PEERS if reason == "bad_checksum" else PEERS)
            for reason, count in case.unmatched.items()
        }
        assert late_and_duplicates(pairs) == expected
        assert sum(pair.rtt.count for pair in pairs) == (PEERS if case.result is Result.REPLY else 0)


ERRORS = (
    (4, 3, 1, None, "icmp_destination_unreachable"),
    (4, 3, 4, None, "icmp_packet_too_big"),
    (4, 11, 0, None, "icmp_time_exceeded"),
    (4, 12, 0, 20 + 8 + 24, "icmp_parameter_problem"),
    (6, 1, 3, None, "icmp_destination_unreachable"),
    (6, 2, 0, None, "icmp_packet_too_big"),
    (6, 3, 0, None, "icmp_time_exceeded"),
    (6, 4, 1, 40 + 8 + 24, "icmp_parameter_problem"),
)


@pytest.mark.parametrize(("version", "kind", "code", "quote_bytes", "name"), ERRORS)
def test_icmp_error_ends_the_probe_as_unreachable(
    version: int, kind: int, code: int, quote_bytes: int | None, name: str
) -> None:
    """23 probes meet an ICMP error from a router: 23 unreachable, counted by type, none in the histogram."""
    router = "10.99.0.99" if version == 4 else "fd99::99"
    action = IcmpError(kind, code, quote_bytes, source=router)
    peers = [peer for peer in reflected_peers(46) if peer.addresses[0].version == version]
    assert len(peers) == 23
    with Namespace("agent") as namespace, Reflector(namespace, Plan.cycle([action])):
        with Measurement(namespace, peers, interval_seconds=2.0, timeout_seconds=0.4) as measurement:
            measurement.wait()
            pairs = measurement.pairs()
        assert measurement.results() == {Result.UNREACHABLE: 23}
        assert measurement.prober.errors() == {name: 23}
        assert measurement.unmatched() == {}
        assert sum(pair.rtt.count for pair in pairs) == 0


@pytest.mark.parametrize(("version", "header"), [(4, 20), (6, 40)])
def test_icmp_error_that_quotes_too_little_is_counted(version: int, header: int) -> None:
    """13 errors end their quote after magic and version. So the probe is unknown, and all 13 are lost."""
    action = IcmpError(3 if version == 4 else 1, 1 if version == 4 else 3, header + 8 + 8)
    peers = [peer for peer in reflected_peers(26) if peer.addresses[0].version == version]
    with Namespace("agent") as namespace, Reflector(namespace, Plan.cycle([action])):
        with Measurement(namespace, peers, interval_seconds=2.0, timeout_seconds=0.4) as measurement:
            measurement.wait()
        assert measurement.results() == {Result.LOST_NETWORK: 13}
        assert measurement.unmatched() == {"truncated_quote": 13}
        assert measurement.prober.errors() == {}


def test_answer_in_a_priority_tagged_frame_is_measured() -> None:
    """47 answers come in frames with an 802.1Q tag in front of the IP header: 47 replies."""
    with Namespace("agent") as namespace, Reflector(namespace, Plan.cycle([Tag(vlan=0, priority=5)]), kind="tap"):
        with Measurement(namespace, reflected_peers(PEERS), interval_seconds=2.0, timeout_seconds=0.4) as measurement:
            measurement.wait()
        assert measurement.results() == {Result.REPLY: PEERS}
        assert measurement.unmatched() == {}


def test_answers_out_of_order_all_count() -> None:
    """Of 8 probes to each of 11 addresses every second answer waits for the next: 88 replies, each RTT its own."""
    with Namespace("agent") as namespace, Reflector(namespace, Plan.cycle([Reorder(), Answer()])) as reflector:
        with Measurement(namespace, reflected_peers(11), probes=8, interval_seconds=0.06) as measurement:
            outcomes = measurement.wait()
        records = {(record.address, record.sequence): record for record in reflector.stop()}
    assert measurement.results() == {Result.REPLY: 88}
    for (address, sequence), outcome in outcomes.items():
        record = records[address, sequence]
        assert (outcome.rtt_ns or 0) > record.turnaround_ns
        if sequence % 2 == 0:
            assert (outcome.rtt_ns or 0) > records[address, sequence + 1].read_ns - record.read_ns


def test_faults_side_by_side_are_each_counted_as_their_own() -> None:
    """Nine actions in turn on the 9 probes of each of 23 addresses: every probe has the result of its own fault."""
    actions: list[Action] = [
        Answer(), Drop(), Double(), FlipNonce(), Answer(20 * MILLISECOND), CorruptByte(), WrongAddress(),
        Double(10 * MILLISECOND), Answer(450 * MILLISECOND),
    ]  # fmt: skip
    lost = {Drop(), FlipNonce(), WrongAddress(), Answer(450 * MILLISECOND)}
    with Namespace("agent") as namespace, Reflector(namespace, Plan.cycle(actions)) as reflector:
        with Measurement(
            namespace, reflected_peers(23), probes=9, interval_seconds=0.1, timeout_seconds=0.4
        ) as measurement:
            outcomes = measurement.wait()
        records = {(record.address, record.sequence): record for record in reflector.stop()}
    assert len(outcomes) == 23 * 9
    for key, outcome in outcomes.items():
        expected = Result.LOST_NETWORK if records[key].action in lost else Result.REPLY
        if records[key].action == CorruptByte():
            expected = Result.LOST_HOST  # it reached a driver, and the stack dropped it
        assert outcome.result is expected, records[key]
