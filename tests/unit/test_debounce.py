"""Debounce: when a changing file is read. A letter is a state that a poll sees, times are seconds."""

from __future__ import annotations

from monlat_ebpf.host.followed_file import LONGEST_DEBOUNCE, Debounce


def due(debounce: Debounce, states: str, step: float = 0.5) -> list[bool]:
    return [debounce.is_due(state, index * step) for index, state in enumerate(states)]


def test_unchanged_file_is_not_read() -> None:
    """Polls that see the state last read ask for nothing."""
    assert due(Debounce("a"), "aaa") == [False, False, False]


def test_changed_file_is_read_at_the_second_poll_that_sees_the_change() -> None:
    """At the first poll the file may be half written."""
    assert due(Debounce("a"), "abb") == [False, False, True]


def test_file_that_keeps_changing_is_not_read_yet() -> None:
    """Each new state needs a second poll that sees it."""
    assert due(Debounce("a"), "bcdd") == [False, False, False, True]


def test_reverted_change_is_not_read() -> None:
    """The state was read before."""
    assert due(Debounce("a"), "baa") == [False, False, False]


def test_file_that_always_changes_is_read_after_the_longest_wait() -> None:
    """It changes at every poll, first seen at 0 s. It is due at 5 s, the eleventh poll."""
    assert LONGEST_DEBOUNCE == 5.0
    assert due(Debounce("."), "abcdefghijk") == [False] * 10 + [True]


def test_file_that_could_not_be_read_stays_due() -> None:
    """Every poll asks for it, even if the state is again the one last read."""
    debounce = Debounce("a")
    assert due(debounce, "bb") == [False, True]
    debounce.read_failed()
    assert debounce.is_due("b", 1.0)
    assert not debounce.is_due("a", 1.5)
    assert debounce.is_due("a", 2.0)


def test_file_that_was_read_is_not_read_again() -> None:
    """After reading, the new state is the reference."""
    debounce = Debounce("a")
    assert due(debounce, "bb") == [False, True]
    debounce.was_read("b")
    assert due(debounce, "bb") == [False, False]
