"""When the prober sends, in which slots, and when it ends. The source is a fake that completes probes at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from random import Random

import pytest

from monlat_ebpf.model import Result
from monlat_ebpf.probing.prober import Prober, tick_ns
from monlat_ebpf.sources import Destination, do_nothing
from testkit.waiting import wait_until
from tests.unit.fake_source import FakeSource, Sent
from tests.unit.running_prober import Bench, only, peer, running

A, B = peer("a", "10.0.0.1"), peer("b", "10.0.0.2")


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
        self,
        packet: bytes,
        to: Destination,
        start: Callable[[], int] = do_nothing,
        *,
        answering: bool = True,
        rehearse: bool = True,
    ) -> int:
        self.began_ns.append(time.monotonic_ns())
        return super().send(packet, to, start, answering=answering)


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


def test_late_prober_sends_count_probes_and_not_one_more() -> None:
    """Sending takes about an interval, so a target is often due twice in one turn. Each of 97 runs sends 3 probes."""
    random = Random(1)
    for _ in range(97):
        source = FakeSource(1)
        prober = Prober(source, interval_seconds=0.002, timeout_seconds=0.02, max_peers=1, node="n", count=3)

        def answer_late(probe: Sent, source: FakeSource = source, prober: Prober = prober) -> None:
            time.sleep(random.uniform(0.001, 0.004))
            source.answer(probe)
            if probe.sequence >= 3:
                prober.stop()  # else it would never return

        source.behaviour = answer_late
        prober.set_peers([A])
        prober.run()
        assert len(source.sent) == 3


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
    lags: list[int] = []
    source = FakeSource(1)
    prober = Prober(source, interval_seconds=0.004, timeout_seconds=0.02, max_peers=1, count=11, on_lags=lags.extend)
    start = time.monotonic_ns()
    prober.set_peers([A])
    end = time.monotonic_ns()
    prober.run()
    dues = [sent.sent_ns - lag for sent, lag in zip(source.sent, lags, strict=True)]
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


@pytest.mark.parametrize(
    ("interval_ns", "targets", "tick"),
    [
        (1_000_000_000, 0, 500_000_000),
        (1_000_000_000, 288, 500_000_000),  # 144 in each of 2 ticks
        (1_000_000_000, 289, 333_333_333),
        (1_000_000_000, 1_440, 100_000_000),
        (1_000_000_000, 7_200, 20_000_000),
        (1_200_000_000, 3, 400_000_000),  # 500 ms would leave 200 ms
        (3_600_000_000_000, 3, 500_000_000),
        (5, 3, 2),
        (1, 3, 1),
    ],
)
def test_tick_of_the_schedule(interval_ns: int, targets: int, tick: int) -> None:
    """Up to 144 targets a tick; half of the interval at most, and never over 500 ms; no remainder."""
    assert tick_ns(interval_ns, targets) == tick
