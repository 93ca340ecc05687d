"""Peers that come, go, return and move while they are probed: the counts of the others are not touched."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable
from random import Random

import pytest

from monlat_ebpf.model import PairSnapshot, Result
from testkit.waiting import wait_until
from tests.unit.fake_source import FakeSource, Sent
from tests.unit.running_prober import numbered, peer, running

A, B = peer("a", "10.0.0.1"), peer("b", "10.0.0.2")


def random_faults(source: FakeSource, random: Random) -> None:
    """Make `source` treat each probe in a random way."""
    behaviours = [source.answer, source.answer, source.lose, source.hold_back, source.answer_late, source.refuse]

    def behave(probe: Sent) -> None:
        if random.random() < 0.1:
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        random.choice(behaviours)(probe)

    source.behaviour = behave


def more_than(source: FakeSource, number: int) -> Callable[[], bool]:
    return lambda: len(source.sent) > number


def has_not_lost(before: PairSnapshot, after: PairSnapshot) -> bool:
    """Whether every counter of `after` is at least that of `before`."""
    pairs = [(before.sent, after.sent), (before.late, after.late), (before.rtt.sum_ns, after.rtt.sum_ns)]
    pairs += [(before.results[result], after.results[result]) for result in Result]
    pairs += zip(before.rtt.buckets, after.rtt.buckets, strict=True)
    return all(old <= new for old, new in pairs)


def test_counts_add_up_whenever_they_are_read() -> None:
    """Read 499 times under random faults, while peers come, go and move: sent is always results and in flight.

    `poll` asserts the sum for every pair. The two peers that stay lose no count, whatever the others do.
    """
    random = Random(11)
    source = FakeSource(20)
    random_faults(source, random)
    stay = [peer("stays1", "10.1.0.1"), peer("stays2", "10.1.0.2")]
    with running(source, max_peers=20) as bench:
        bench.prober.set_peers(stay)
        kept = bench.poll()
        for _ in range(499):
            others = random.sample(range(12), random.randrange(12))
            moved = [peer(f"other{number}", f"10.2.{random.randrange(3)}.{number}") for number in others]
            bench.prober.set_peers(stay + moved)
            seen = bench.poll()
            assert set(seen) == {(each.name, "ipv4") for each in stay + moved}
            for key, pair in kept.items():
                assert has_not_lost(pair, seen[key])
                kept[key] = seen[key]
            wait_until(more_than(source, len(source.sent)))
        final = bench.pair("stays1")
    reported_by_peers = {Result.LOST_FORWARD, Result.LOST_RETURN}
    assert {result for result, count in final.results.items() if count} == set(Result) - reported_by_peers


def test_a_peer_that_leaves_goes_at_once() -> None:
    """After the call there is no pair of it, and no probe is sent to it any more."""
    source = FakeSource(4)
    with running(source) as bench:
        bench.prober.set_peers([A, B])
        wait_until(lambda: bench.sent("a") >= 7 and bench.sent("b") >= 7)
        bench.prober.set_peers([B])
        assert set(bench.poll()) == {("b", "ipv4")}
        already = len(source.sent)
        wait_until(lambda: len(source.sent) >= already + 23)
        assert {str(sent.address) for sent in source.sent[already + 1 :]} == {"10.0.0.2"}


def test_a_peer_that_leaves_while_the_pairs_are_read_is_left_out() -> None:
    """Its memory may belong to another peer by now."""
    with running(FakeSource(4), interval=60) as bench:
        bench.prober.set_peers([A, B])
        pairs = bench.prober.pairs()
        assert next(pairs).to == "a"
        bench.prober.set_peers([A])
        assert list(pairs) == []


def test_without_peers_the_loop_does_not_turn() -> None:
    """Half a second passes without a turn of the loop after a peer left that was probed every 2 ms."""
    with running(FakeSource(2)) as bench:
        bench.prober.set_peers([A])
        wait_until(lambda: bench.sent("a") >= 7)
        bench.prober.set_peers([])
        wait_until(lambda: time.monotonic_ns() - bench.prober.last_turn_ns > 500_000_000)


def test_a_peer_that_returns_starts_at_zero() -> None:
    """It has no counts from before, not even of a reply that a processor was noting as the peer left."""
    source = FakeSource(1)
    source.behaviour = lambda probe: (source.answer if probe.sequence % 2 else source.answer_late)(probe)
    with running(source, max_peers=1) as bench:
        bench.prober.set_peers([A])
        wait_until(lambda: bench.ended("a") >= 31)
        bench.prober.set_peers([])
        assert bench.poll() == {}
        source.finish(source.sent[-1], source.sent[-1].sent_ns + 2_000)
        source.behaviour = source.hold_back
        bench.prober.set_peers([A])
        pair = bench.pair("a")
        assert pair.results[Result.REPLY] == pair.rtt.count == pair.rtt.sum_ns == pair.late == pair.duplicates == 0
        assert pair.min_rtt_ns is None
        wait_until(lambda: bench.ended("a") >= 1)
        assert source.sent[-1].sequence <= bench.sent("a")


def test_a_reply_to_a_removed_peer_is_not_counted_for_the_next_one() -> None:
    """B gets the only index, which was A's: replies to A's last probes are unmatched, and B has none of them."""
    source = FakeSource(1)
    source.behaviour = source.lose
    with running(source, timeout=0.03, max_peers=1) as bench:
        bench.prober.set_peers([A])
        wait_until(lambda: len(source.sent) >= 16)
        bench.prober.set_peers([])
        of_a = source.sent[-16:]
        for probe in of_a[:8]:
            source.receive(probe, probe.sent_ns + 40_000)
        assert source.unmatched == 8
        bench.prober.set_peers([B])
        wait_until(lambda: bench.sent("b") >= 17)
        for probe in of_a[8:]:
            source.receive(probe, probe.sent_ns + 40_000)
        assert source.unmatched == 16
        wait_until(lambda: bench.ended("b") >= 23)
        pair = bench.pair("b")
    assert {probe.slot for probe in of_a} == {probe.slot for probe in source.sent if probe.address == B.addresses[0]}
    assert (pair.results[Result.REPLY], pair.rtt.count, pair.duplicates, pair.late) == (0, 0, 0, 0)


def test_a_new_address_keeps_the_counts() -> None:
    """New probes go to the new address, and the reply to one in flight to the old address still counts."""
    source = FakeSource(2)
    with running(source, interval=0.05, timeout=0.5) as bench:
        bench.prober.set_peers([A])
        wait_until(lambda: bench.ended("a") >= 3)
        source.behaviour = source.lose
        open_from = len(source.sent)
        wait_until(lambda: len(source.sent) > open_from)
        last = source.sent[open_from]
        before = bench.pair("a")
        bench.prober.set_peers([peer("a", "10.9.9.9", zone="new")])
        source.receive(last, last.sent_ns + 60_000)
        after = bench.pair("a")
        source.behaviour = source.answer
        wait_until(lambda: str(source.sent[-1].address) == "10.9.9.9")
        assert bench.sent("a") > before.sent
    assert has_not_lost(before, after)
    assert after.results[Result.REPLY] >= before.results[Result.REPLY] + 1
    assert after.last_rtt_ns == 59_000
    assert (str(after.address), after.to_zone) == ("10.9.9.9", "new")


def test_too_many_peers_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """Two of four are probed; the log names the others once, and again only when they change."""
    peers = [peer(name, f"10.0.0.{number}", f"fd77::{number}") for number, name in enumerate("abcd", start=1)]
    with caplog.at_level(logging.WARNING), running(FakeSource(4), interval=60, max_peers=2) as bench:
        bench.prober.set_peers(peers)
        bench.prober.set_peers(peers)
        assert {name for name, _ in bench.poll()} == {"a", "b"}
        assert [record.getMessage() for record in caplog.records] == [
            "2 peers are not probed, there is room for 2 (--max-peers): c, d"
        ]
        bench.prober.set_peers(peers[1:])
        assert {name for name, _ in bench.poll()} == {"b", "c"}
    assert [record.getMessage() for record in caplog.records][1:] == [
        "1 peers are not probed, there is room for 2 (--max-peers): d"
    ]


def test_indexes_are_reused_without_end() -> None:
    """With room for two targets, each of 997 peers one after the other starts at zero."""
    source = FakeSource(2)
    with running(source, interval=0.002, max_peers=1) as bench:
        for number in range(997):
            before = len(source.sent)
            bench.prober.set_peers([numbered(number)])
            (pair,) = bench.poll().values()
            assert pair.to == f"peer{number:05}"
            assert pair.rtt.count <= pair.sent <= len(source.sent) - before


def time_to_remove(count: int) -> float:
    """Return the CPU seconds that it takes to remove `count` peers whose probes could not be sent.

    The least of three: a garbage collection or other work on the machine may slow down any of them.
    """
    return min(_once_to_remove(count) for _ in range(3))


def _once_to_remove(count: int) -> float:
    def fail(_probe: Sent) -> None:
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    with running(FakeSource(count, fail), interval=0.02, max_peers=count) as bench:
        bench.prober.set_peers([numbered(number) for number in range(count)])
        wait_until(lambda: len(bench.lags) >= count)
        wait_until(lambda: min(pair.sent for pair in bench.prober.pairs()) >= 1)
        start = time.thread_time()
        bench.prober.set_peers([])
        return time.thread_time() - start


def test_five_thousand_failing_peers_leave_in_linear_time(caplog: pytest.LogCaptureFixture) -> None:
    """Removing ten times as many takes some ten times the CPU time; a quadratic time would be a hundred times."""
    caplog.set_level(logging.ERROR)  # else ten thousand lines, one for each peer
    assert time_to_remove(5_000) < 40 * max(time_to_remove(500), 0.001)


def test_five_thousand_targets_are_all_probed() -> None:
    """5,003 peers are probed once in each interval, and all have their replies."""
    source = FakeSource(5_003)
    with running(source, interval=2, timeout=1, max_peers=5_003) as bench:
        bench.prober.set_peers([numbered(number) for number in range(5_003)])
        wait_until(lambda: len(source.sent) >= 5_003, seconds=60)
        wait_until(lambda: min(bench.sent(f"peer{number:05}") for number in (0, 5_002)) >= 1)
        pairs = bench.poll()
    assert len(pairs) == 5_003
    assert all(pair.results[Result.REPLY] == pair.rtt.count for pair in pairs.values())
