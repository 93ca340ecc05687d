"""What becomes of probes: sent, answered, lost, unreachable. The source is a fake that completes them at once."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable

import pytest

from monlat_ebpf.model import Family, Result
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.sources import Destination, do_nothing
from testkit.waiting import wait_until
from tests.unit.fake_source import FakeSource, Sent
from tests.unit.running_prober import only, peer, running

A, B = peer("a", "10.0.0.1"), peer("b", "10.0.0.2")


def test_every_reply_is_counted() -> None:
    """Over 97 probes through 16 slots: each has the result `reply` and one sample of 50 us."""
    source = FakeSource(1)
    with running(source) as bench:
        bench.prober.set_peers([A])
        wait_until(lambda: bench.ended("a") >= 97)
        pair = bench.pair("a")
    assert only(pair) is Result.REPLY
    assert pair.rtt.count == pair.results[Result.REPLY]
    assert pair.rtt.sum_ns == 50_000 * pair.rtt.count
    assert (pair.last_rtt_ns, pair.min_rtt_ns, pair.max_rtt_ns) == (50_000, 50_000, 50_000)
    assert (pair.late, pair.duplicates, pair.device) == (0, 0, "lo")
    assert [sent.sequence for sent in source.sent] == list(range(len(source.sent)))
    assert len({sent.nonce for sent in source.sent}) == len(source.sent)


def test_a_reply_shows_before_its_deadline() -> None:
    """Reading the pairs shows a reply as soon as the source has it, not when the time-out of 100 s has passed."""
    source = FakeSource(1)
    with running(source, interval=8, timeout=100) as bench:
        bench.prober.set_peers([A])
        wait_until(lambda: len(source.sent) >= 1)
        wait_until(lambda: bench.ended("a") >= 1)
        assert bench.pair("a").last_rtt_ns == 50_000


@pytest.mark.parametrize(
    ("behaviour", "result", "errors"),
    [
        ("lose", Result.LOST_NETWORK, set()),
        ("answer_late", Result.LOST_NETWORK, set()),
        ("hold_back", Result.LOST_HOST, set()),
        ("refuse", Result.UNREACHABLE, {"icmp_destination_unreachable"}),
    ],
)
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_probes_without_a_reply(behaviour: str, result: Result, errors: set[str], family: str) -> None:
    """Lost behind the driver, before it, late, unreachable: one result for each probe, and no RTT."""
    source = FakeSource(2)
    source.behaviour = getattr(source, behaviour)
    with running(source) as bench:
        bench.prober.set_peers([peer("a", "10.0.0.1" if family == "ipv4" else "fd77::1")])
        wait_until(lambda: sum(bench.pair("a", family).results.values()) >= 43)
        pair = bench.pair("a", family)
        counted = bench.prober.errors()
    assert only(pair) is result
    assert (pair.last_rtt_ns, pair.min_rtt_ns, pair.rtt.count) == (None, None, 0)
    assert pair.late == (pair.sent if behaviour == "answer_late" else 0)
    assert set(counted) == errors
    assert sum(counted.values()) >= (pair.results[result] if errors else 0)


def test_failing_sends_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is a `send_error` under its errno's name; the log has one line for each peer and errno."""

    def fail(probe: Sent) -> None:
        number = errno.ENETUNREACH if probe.sequence % 2 else errno.EPERM
        raise OSError(number, os.strerror(number))

    with caplog.at_level(logging.WARNING), running(FakeSource(4, fail)) as bench:
        bench.prober.set_peers([A, B])
        wait_until(lambda: bench.ended("a") >= 30 and bench.ended("b") >= 30)
        bench.prober.stop()
        wait_until(lambda: bench.pair("a").in_flight == 0)
    pairs = bench.poll()
    assert {only(pair) for pair in pairs.values()} == {Result.SEND_ERROR}
    errors = bench.prober.errors()
    assert set(errors) == {"ENETUNREACH", "EPERM"}
    assert sum(errors.values()) == sum(pair.sent for pair in pairs.values())
    lines = sorted(record.getMessage() for record in caplog.records)
    assert [line.split(";")[0] for line in lines] == [
        "a (10.0.0.1) cannot be probed: Network is unreachable",
        "a (10.0.0.1) cannot be probed: Operation not permitted",
        "b (10.0.0.2) cannot be probed: Network is unreachable",
        "b (10.0.0.2) cannot be probed: Operation not permitted",
    ]


def test_errors_are_logged_while_the_counts_can_be_read() -> None:
    """A log handler that reads the counts gets them: nothing is logged under the prober's lock."""
    counts: list[dict[str, int]] = []

    class Reading(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            thread = threading.Thread(target=lambda: counts.append(bench.prober.errors()), daemon=True)
            thread.start()
            thread.join(timeout=10)

    def fail(_probe: Sent) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    handler, log = Reading(), logging.getLogger("monlat_ebpf.probing")
    log.addHandler(handler)
    try:
        with running(FakeSource(2, fail)) as bench:
            bench.prober.set_peers([A])
            wait_until(lambda: bench.ended("a") >= 3)
            assert [set(each) for each in counts] == [{"EPERM"}]
    finally:
        log.removeHandler(handler)


def test_targets_that_answer_have_a_socket_of_their_own() -> None:
    """New targets and those whose last ended probe was lost use the other one; a single lost probe is enough."""
    chosen: list[bool] = []

    class Choosing(FakeSource):
        def send(
            self,
            packet: bytes,
            to: Destination,
            start: Callable[[], int] = do_nothing,
            *,
            answering: bool = True,
            rehearse: bool = True,
        ) -> int:
            chosen.append(answering)
            return super().send(packet, to, start)

    source = Choosing(1)
    lost = {5, 6}
    source.behaviour = lambda probe: source.lose(probe) if probe.sequence in lost else source.answer(probe)
    prober = Prober(source, interval_seconds=0.1, timeout_seconds=0.01, max_peers=1, count=11)
    prober.set_peers([A])
    prober.run()
    assert [sequence for sequence, answering in enumerate(chosen) if not answering] == [0, 6, 7]


def test_a_second_reply_is_a_duplicate() -> None:
    """Each probe is answered twice: one result, one sample, one duplicate."""

    def answer_twice(probe: Sent) -> None:
        source.answer(probe)
        source.receive(probe, probe.sent_ns + 90_000)

    source = FakeSource(2, answer_twice)
    with running(source) as bench:
        bench.prober.set_peers([A])
        wait_until(lambda: bench.ended("a") >= 31)
    pair = bench.pair("a")
    assert only(pair) is Result.REPLY
    assert pair.duplicates == pair.rtt.count == pair.sent
    assert pair.max_rtt_ns == 50_000


def test_last_rtt_goes_when_the_peer_falls_silent() -> None:
    """The last RTT is None after a lost probe, and a number again after the next reply."""
    source = FakeSource(2)
    with running(source) as bench:
        bench.prober.set_peers([A])
        wait_until(lambda: bench.pair("a").last_rtt_ns == 50_000)
        source.behaviour = source.lose
        wait_until(lambda: bench.pair("a").last_rtt_ns is None)
        source.behaviour = lambda probe: source.answer(probe, 70_000)
        wait_until(lambda: bench.pair("a").last_rtt_ns == 70_000)
        assert bench.pair("a").min_rtt_ns == 50_000


def test_pairs_are_sorted_by_peer_and_preference() -> None:
    """Peers by name; within a peer its families as its addresses are ordered; zone and address beside them."""
    with running(FakeSource(6), interval=60) as bench:
        bench.prober.set_peers([peer("b", "fd77::2", "10.0.0.2", zone="z"), peer("a", "10.0.0.1", "fd77::1")])
        pairs = list(bench.prober.pairs())
    assert [(pair.to, pair.family) for pair in pairs] == [
        ("a", Family.IPV4),
        ("a", Family.IPV6),
        ("b", Family.IPV6),
        ("b", Family.IPV4),
    ]
    assert [str(pair.address) for pair in pairs] == ["10.0.0.1", "fd77::1", "fd77::2", "10.0.0.2"]
    assert [pair.to_zone for pair in pairs] == ["", "", "z", "z"]


def test_a_series_begins_at_zero() -> None:
    """Before its first probe a pair is there, and all its counts are zero."""
    with running(FakeSource(2), interval=3600) as bench:
        bench.prober.set_peers([A])
        pair = bench.pair("a")
    assert (pair.sent, pair.in_flight, pair.rtt.count, pair.device, pair.last_rtt_ns) == (0, 0, 0, "", None)
    assert pair.results == dict.fromkeys(Result, 0)
