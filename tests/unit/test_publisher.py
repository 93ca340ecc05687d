"""The thread that publishes lists: bursts, lists that change by themselves, and defects."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

import pytest

from monlat_ebpf.discovery.publisher import Current, Publisher
from monlat_ebpf.model import Peer
from testkit.waiting import wait_until

PATIENCE = 20.0  # seconds, for a busy machine
A, B = Peer("a", (ip_address("10.0.0.1"),)), Peer("b", (ip_address("10.0.0.2"),))


class Published:
    """A publisher whose list a test replaces, and what it published and counted."""

    def __init__(self, retry_seconds: float = 3600) -> None:
        self.current: Callable[[], Current] = lambda: Current((A,))
        self.lists: queue.Queue[Sequence[Peer]] = queue.Queue()
        self.errors = 0
        self.accept: Callable[[Sequence[Peer]], None] = self.lists.put
        self.publisher = Publisher(
            lambda: self.current(),
            lambda peers: self.accept(peers),
            0.01,
            count_error=self._count,
            retry_seconds=retry_seconds,
        )
        self.publisher.start()

    def _count(self) -> None:
        self.errors += 1

    def next(self) -> Sequence[Peer]:
        return self.lists.get(timeout=PATIENCE)


@pytest.fixture
def published() -> Iterator[Published]:
    running = Published()
    yield running
    running.publisher.stop()


def fail() -> Current:
    raise KeyError("a defect")


def test_zone_of_this_node_is_published_as_a_change(published: Published) -> None:
    """Its own endpoint may be listed after the others: then the list is the same, and other pairs are probed."""
    published.publisher.changed()
    assert published.next() == (A,)
    published.current = lambda: Current((A,), own_zone="a")
    published.publisher.changed()
    assert published.next() == (A,)
    published.publisher.changed()
    published.current = lambda: Current((A, B), own_zone="a")
    published.publisher.changed()
    assert published.next() == (A, B)


def test_list_that_changes_by_itself_is_published(published: Published) -> None:
    """The list holds for 0.03 s: the next one is published without a change."""
    answers = iter([Current((A, B), 0.03), Current((B,))])
    published.current = lambda: next(answers)
    published.publisher.changed()
    assert [published.next(), published.next()] == [(A, B), (B,)]


def test_defect_keeps_the_thread_and_the_last_list(published: Published, caplog: pytest.LogCaptureFixture) -> None:
    """Three changes meet a defect: each is counted, one is logged with its cause. The next list is published."""
    published.publisher.changed()
    assert published.next() == (A,)
    published.current = fail
    for number in (1, 2, 3):
        published.publisher.changed()
        wait_until(lambda number=number: published.errors == number)  # type: ignore[misc]  # bound now
    assert published.lists.empty()
    published.current = lambda: Current((B,))
    published.publisher.changed()
    assert published.next() == (B,)
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert record.getMessage() == "the list of peers cannot be made or used; keeping the last one, and trying again"
    assert record.exc_info


def test_another_defect_is_logged_again(published: Published, caplog: pytest.LogCaptureFixture) -> None:
    """Once for each time that it begins."""
    for number in (1, 2):
        published.current = fail
        published.publisher.changed()
        wait_until(lambda number=number: published.errors == number)  # type: ignore[misc]  # bound now
        published.current = lambda number=number: Current((A,) * number)  # type: ignore[misc]
        published.publisher.changed()
        published.next()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


def test_defect_is_retried_without_a_change() -> None:
    """The list may be right later, as when a departed peer's minute is over."""
    running = Published(retry_seconds=0.01)
    try:
        running.current = fail
        running.publisher.changed()
        wait_until(lambda: running.errors >= 3)
        running.current = lambda: Current((B,))
        assert running.next() == (B,)
    finally:
        running.publisher.stop()


def test_list_that_was_not_accepted_is_published_again() -> None:
    """A defect of the receiver is counted, and the same list is offered again without a change."""
    running = Published(retry_seconds=0.01)
    try:
        running.accept = refuse
        running.publisher.changed()
        wait_until(lambda: running.errors >= 3)
        running.accept = running.lists.put
        assert running.next() == (A,)
    finally:
        running.publisher.stop()


def refuse(peers: Sequence[Peer]) -> None:
    raise ValueError(f"a defect of who receives {len(peers)} peers")
