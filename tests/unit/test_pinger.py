"""`monlat ping` without a kernel: a fake source, and a fake of the socket that icmplib reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from monlat_ebpf.host.wake_event import WakeEvent
from monlat_ebpf.model import Result
from monlat_ebpf.ping.events import Duplicate, Ended, Late
from monlat_ebpf.ping.pinger import Pinger, Plan
from monlat_ebpf.ping.user_space import Answer
from tests.unit.fake_source import FakeSource, Sent

PEER = ip_address("10.0.0.2")
USER_RTT_NS = 90_000


class FakeReader:
    """Imitates EchoReader: readable while it holds answers."""

    def __init__(self) -> None:
        self._answers: deque[Answer] = deque()
        self._readable = WakeEvent()

    def push(self, probe: Sent, identifier: int | None = None) -> None:
        identifier = probe.identifier if identifier is None else identifier
        sequence = probe.sequence % 65_536
        self._answers.append(Answer(identifier, sequence, True, PEER, probe.sent_ns + USER_RTT_NS))
        self._readable.set()

    def fileno(self) -> int:
        return self._readable.fileno()

    def receive(self) -> Iterator[Answer]:
        self._readable.clear()
        while self._answers:
            yield self._answers.popleft()


def test_each_probe_ends_once_with_the_times_of_both_views() -> None:
    """31 probes: the kernel's RTT is 50 us, user space has the reply 90 us after t0; they end in order."""
    reader, plan = FakeReader(), Plan(31, 0.002, 1.0)
    source = FakeSource(plan.table_size().targets)

    def answer(probe: Sent) -> None:
        source.answer(probe)
        reader.push(probe)

    source.behaviour = answer
    pinger = Pinger(source, reader, PEER, plan)
    assert list(pinger.run()) == [Ended(number, Result.REPLY, 50_000, 1_000, USER_RTT_NS) for number in range(31)]
    assert (pinger.sent, pinger.in_flight) == (31, 0)


def test_probes_that_are_answered_together_end_in_order() -> None:
    """User space gets the answers to probes 15 and 16 at once, as on a busy host; 15 ends first."""
    reader, plan = FakeReader(), Plan(17, 0.002, 1.0)
    source = FakeSource(plan.table_size().targets)

    def answer(probe: Sent) -> None:
        source.answer(probe)
        if probe.sequence == 16:
            for each in source.sent[15:]:
                reader.push(each)
        elif probe.sequence < 15:
            reader.push(probe)

    source.behaviour = answer
    assert [event.sequence for event in Pinger(source, reader, PEER, plan).run()] == list(range(17))


def test_a_reply_that_only_the_kernel_saw_ends_its_probe_at_the_deadline() -> None:
    """Nothing reaches user space: 7 replies without a user space RTT."""
    plan = Plan(7, 0.002, 0.02)
    pinger = Pinger(FakeSource(plan.table_size().targets), FakeReader(), PEER, plan)
    assert list(pinger.run()) == [Ended(number, Result.REPLY, 50_000, 1_000, None) for number in range(7)]


def test_an_answer_to_another_process_is_ignored() -> None:
    """It has the same sequence and another identifier, so that probe stays lost, and there is no late reply."""
    reader, plan = FakeReader(), Plan(1, 0.01, 0.02)
    source = FakeSource(plan.table_size().targets)

    def lose(probe: Sent) -> None:
        source.lose(probe)
        reader.push(probe, (probe.identifier + 1) % 65_536)

    source.behaviour = lose
    assert list(Pinger(source, reader, PEER, plan).run()) == [Ended(0, Result.LOST_NETWORK, None, 1_000)]


def test_late_and_duplicate_replies_are_events_of_their_own() -> None:
    """Probe 0 is lost, then its reply comes; then it comes again. The other probe is never answered."""
    reader, plan = FakeReader(), Plan(2, 0.5, 0.02)
    source = FakeSource(plan.table_size().targets)
    source.behaviour = source.lose
    pinger = Pinger(source, reader, PEER, plan)
    events = []
    for event in pinger.run():
        events.append(event)
        if event == Ended(0, Result.LOST_NETWORK, None, 1_000):
            source.receive(source.sent[0], source.sent[0].sent_ns + 21_000_000)
            reader.push(source.sent[0])
            reader.push(source.sent[0])
    assert events[:3] == [Ended(0, Result.LOST_NETWORK, None, 1_000), Late(0, 20_999_000), Duplicate(0)]
    assert events[3:] == [Ended(1, Result.LOST_NETWORK, None, 1_000)]
    assert pinger.late_and_duplicates() == (1, 0)


def test_stop_ends_an_endless_ping() -> None:
    """Without a count it runs until `stop`; what was sent has ended or is in flight."""
    plan = Plan(None, 0.002, 0.02)
    source = FakeSource(plan.table_size().targets)
    source.behaviour = source.lose
    pinger = Pinger(source, FakeReader(), PEER, plan)
    ended = 0
    for event in pinger.run():
        assert isinstance(event, Ended)
        ended += 1
        if ended == 5:
            pinger.stop()
    assert pinger.sent == len(source.sent) == ended + pinger.in_flight


def test_an_error_in_the_sending_thread_is_raised() -> None:
    """A bug there must not leave ping waiting for ever."""

    def fail(_probe: Sent) -> None:
        raise ZeroDivisionError

    plan = Plan(None, 0.002, 0.02)
    pinger = Pinger(FakeSource(plan.table_size().targets, fail), FakeReader(), PEER, plan)
    with pytest.raises(ZeroDivisionError):
        list(pinger.run())


def test_the_whole_table_is_reserved() -> None:
    """A time-out of 6 s at 10 ms needs 1,402 slots, 88 targets; the tracepoint source maps only 64 until asked."""
    plan = Plan(None, 0.01, 6.0)
    source = FakeSource(plan.table_size().targets)
    Pinger(source, FakeReader(), PEER, plan)
    assert source.reserved == 88
