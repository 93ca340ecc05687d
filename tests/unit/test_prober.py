"""What becomes of probes: sent, answered, lost, unreachable. The source is a fake that completes them at once."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from monlat_ebpf.model import Address, Family, PairSnapshot, Result
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.sources import do_nothing
from testkit.waiting import wait_until
from tests.unit.fake_source import FakeSource, Sent
from tests.unit.running_prober import Bench, peer, running

A, B = peer("a", "10.0.0.1"), peer("b", "10.0.0.2")


def only(pair: PairSnapshot) -> Result:
    """Return the one result that all ended probes of `pair` have."""
    (result,) = (result for result, count in pair.results.items() if count)
    return result


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
            self, packet: bytes, address: Address, start: Callable[[], object] = do_nothing, *, answering: bool = True
        ) -> None:
            chosen.append(answering)
            super().send(packet, address, start)

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


def test_each_probe_has_one_lag_one_send_delay_and_one_outcome() -> None:
    """The send delay, t1 - t0, is 1 us here; outcomes come in the order of sending."""
    with running(FakeSource(2)) as bench:
        bench.prober.set_peers([A])
        wait_until(lambda: bench.ended("a") >= 41)
        bench.prober.stop()
        wait_until(lambda: bench.pair("a").in_flight == 0)
    sent = bench.sent("a")
    assert len(bench.lags) == sent
    assert min(bench.lags) >= 0
    send_delay = bench.prober.send_delay()
    assert (send_delay.count, send_delay.sum_ns) == (sent, 1_000 * sent)
    assert send_delay.buckets[1] == sent  # above 2^-20 s, at most 2^(-20 + 1/8) s
    assert [(name, outcome.sequence) for name, outcome in bench.outcomes] == [("a", number) for number in range(sent)]


class SlowSource(FakeSource):
    """Needs time before it calls `start`."""

    def __init__(self) -> None:
        super().__init__(1)
        self.began_ns: list[int] = []

    def send(
        self, packet: bytes, address: Address, start: Callable[[], object] = do_nothing, *, answering: bool = True
    ) -> None:
        self.began_ns.append(time.monotonic_ns())
        super().send(packet, address, start, answering=answering)


def test_t0_and_deadline_are_of_the_instant_before_the_system_call() -> None:
    """What the source does before it calls `start` is no part of the send delay, and none of the time-out."""
    source = SlowSource()
    prober = Prober(source, interval_seconds=0.002, timeout_seconds=0.02, max_peers=1, count=13)
    prober.set_peers([A])
    prober.run()
    assert len(source.sent) == 13
    for sent, began_ns in zip(source.sent, source.began_ns, strict=True):
        assert sent.sent_ns >= began_ns
        assert sent.deadline_ns == sent.sent_ns + 20_000_000


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


def test_every_slot_may_hold_a_probe_in_flight() -> None:
    """With a time-out of 15 intervals and no answers, no probe ends before its deadline."""
    source = FakeSource(2)
    source.behaviour = source.lose
    with running(source, interval=0.01, timeout=0.15) as bench:
        bench.prober.set_peers([A])
        wait_until(lambda: bench.ended("a") >= 37)
        bench.prober.stop()
    ended = bench.ended("a")
    assert only(bench.pair("a")) is Result.LOST_NETWORK
    assert 1 <= bench.pair("a").in_flight <= 16
    assert [outcome.sequence for _, outcome in bench.outcomes] == list(range(ended))


@pytest.mark.parametrize(("intervals", "skipped"), [(15, 0), (17, 4)])
def test_slot_is_not_used_again_while_a_reply_may_come(intervals: int, skipped: int) -> None:
    """No probe ends as lost before its deadline. Of a time-out of 17 intervals, 2 are skipped after each 16 probes."""
    ended_ns: list[int] = []
    source = FakeSource(1)
    source.behaviour = source.lose
    prober = Prober(
        source,
        interval_seconds=0.02,
        timeout_seconds=0.02 * intervals,
        max_peers=1,
        count=37,
        on_outcome=lambda _target, _outcome: ended_ns.append(time.monotonic_ns()),
    )
    prober.set_peers([A])
    prober.run()
    assert all(at >= probe.deadline_ns for at, probe in zip(ended_ns, source.sent, strict=True))
    [pair] = prober.pairs()
    assert pair.results[Result.LOST_NETWORK] == 37
    assert prober.skipped() >= skipped


def test_reply_in_a_time_out_of_more_intervals_than_slots_counts() -> None:
    """The reply to the first of 16 probes comes when a 17th has been due: it is a reply, and the 17th is sent then."""
    source = FakeSource(1)
    source.behaviour = source.lose
    with running(source, interval=0.01, timeout=100) as bench:
        bench.prober.set_peers([A])
        wait_until(lambda: bench.prober.skipped() >= 1 and len(source.sent) == 16)
        source.receive(source.sent[0], source.sent[0].deadline_ns)
        wait_until(lambda: len(source.sent) == 17)
        assert bench.pair("a").results[Result.REPLY] == 1
    assert len(source.sent) == 17


STOPPED_BY_SIGNAL = """
import random, signal
from tests.unit.fake_source import FakeSource
from tests.unit.running_prober import Bench, peer
delay = random.Random(1)
stopped = 0
while stopped < 211:
    prober = Bench(FakeSource(2), 1e-6, 1e-3, 1).prober
    prober.set_peers([peer("a", "10.0.0.1")])
    signal.signal(signal.SIGALRM, lambda _signal, _frame: prober.stop())
    signal.setitimer(signal.ITIMER_REAL, delay.uniform(0.001, 0.01))
    prober.run()
    stopped += 1
print(stopped)
"""


def test_a_signal_handler_may_stop_it_at_any_moment() -> None:
    """A handler interrupts the busy loop 211 times, each time somewhere else, and each time the loop returns."""
    command = [sys.executable, "-c", STOPPED_BY_SIGNAL]
    stopped = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (stopped.stdout.strip(), stopped.stderr) == ("211", "")


def test_stop_before_run() -> None:
    """A prober that was stopped before it ran returns at once."""
    bench = Bench(FakeSource(2), 1, 1, 1)
    bench.prober.stop()
    bench.prober.run()
    assert bench.source.sent == []


@pytest.mark.parametrize("behaviour", ["answer", "lose"])
def test_run_returns_when_count_probes_of_each_target_have_ended(behaviour: str) -> None:
    """Seven probes to each of two targets, and not one more, whether they are answered or expire."""
    source = FakeSource(2)
    source.behaviour = getattr(source, behaviour)
    prober = Prober(source, interval_seconds=0.002, timeout_seconds=0.02, max_peers=2, count=7)
    prober.set_peers([A, B])
    prober.run()
    assert [(pair.to, pair.sent, pair.in_flight) for pair in prober.pairs()] == [("a", 7, 0), ("b", 7, 0)]
    assert len(source.sent) == 14


def test_run_returns_when_another_thread_resolves_the_last_probe() -> None:
    """One probe with a time-out of an hour: `resolve` finds its reply, and `run` does not wait for the deadline."""
    source = FakeSource(1)
    prober = Prober(source, interval_seconds=3600, timeout_seconds=3600, max_peers=1, count=1)
    prober.set_peers([A])
    thread = threading.Thread(target=prober.run)
    thread.start()
    [target] = prober.targets()
    wait_until(lambda: target.ledger.sent == 1)
    prober.resolve(target, 0)
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert target.ledger.results[Result.REPLY] == 1


def test_without_a_node_name_the_pace_is_even() -> None:
    """The first probe is due at once, the n-th n intervals later: no phase and no jitter."""
    lags: list[float] = []
    source = FakeSource(1)
    prober = Prober(source, interval_seconds=0.004, timeout_seconds=0.02, max_peers=1, count=11, on_lag=lags.append)
    start = time.monotonic_ns()
    prober.set_peers([A])
    end = time.monotonic_ns()
    prober.run()
    dues = [sent.sent_ns - lag * 1e9 for sent, lag in zip(source.sent, lags, strict=True)]
    assert start - 1_000 < dues[0] < end + 1_000
    for due in dues:
        assert abs((due - dues[0] + 2_000_000) % 4_000_000 - 2_000_000) < 1_000  # skipped times are whole intervals


def test_one_target_may_use_the_slots_of_all() -> None:
    """With 48 positions and no replies, 41 probes are in flight at once, each in a slot of its own."""
    source = FakeSource(3)
    source.behaviour = source.lose
    prober = Prober(source, interval_seconds=1e-4, timeout_seconds=0.5, max_peers=1, count=41, positions=48)
    prober.set_peers([A])
    prober.run()
    [pair] = prober.pairs()
    assert (pair.sent, pair.results[Result.LOST_NETWORK]) == (41, 41)
    assert [sent.slot for sent in source.sent] == list(range(41))
