"""The thread that polls files: when it reads them again, and that it ends."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest

from monlat_ebpf.host.followed_file import Follower
from testkit.waiting import wait_until

PATIENCE = 20.0  # seconds, for a busy machine


class Followed:
    """A state that a test sets. `reloads` are the states that were reloaded."""

    def __init__(self) -> None:
        self.state: object = 0
        self.can_read = True
        self.reloads: queue.Queue[object] = queue.Queue()
        self.polls = 0
        self.follower = Follower(self._poll, self._reload, name="test", poll_seconds=0.01)

    def _poll(self) -> object:
        self.polls += 1
        return self.state

    def _reload(self, seen: object) -> object | None:
        readable = self.can_read
        self.reloads.put(seen)
        return seen if readable else None

    def next(self) -> object:
        return self.reloads.get(timeout=PATIENCE)


@pytest.fixture
def followed() -> Iterator[Followed]:
    followed = Followed()
    followed.follower.start(0)
    yield followed
    followed.follower.stop()


def test_each_change_is_read_once(followed: Followed) -> None:
    """Three changes, each after seven polls that saw the one before."""
    for state in (1, 2, 3):
        followed.state = state
        assert followed.next() == state
        polls = followed.polls
        wait_until(lambda polls=polls: followed.polls >= polls + 7)  # type: ignore[misc]  # bound now
        assert followed.reloads.empty()


def test_state_that_could_not_be_read_is_read_again(followed: Followed) -> None:
    """Until it can, although it does not change."""
    followed.can_read = False
    followed.state = 1
    assert [followed.next(), followed.next(), followed.next()] == [1, 1, 1]
    followed.can_read = True
    followed.next()
    followed.state = 2
    while followed.next() != 2:
        pass


def test_stop_before_start_does_nothing() -> None:
    """An agent that fails early stops all its parts."""
    followed = Followed()
    followed.follower.stop()
    assert followed.reloads.empty()
