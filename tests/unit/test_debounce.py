"""When a changing file is read, decided from looks at it: a letter is a state, times are seconds."""

from __future__ import annotations

from monlat_ebpf.discovery.settling import LONGEST_WAIT, Settling


def due(settling: Settling, states: str, step: float = 0.5) -> list[bool]:
    return [settling.is_due(state, index * step) for index, state in enumerate(states)]


def test_an_unchanged_file_is_not_read() -> None:
    """Looks that see what was read ask for nothing."""
    assert due(Settling("a"), "aaa") == [False, False, False]


def test_a_changed_file_is_read_at_the_second_look_that_sees_the_change() -> None:
    """The first look may have met a file that is half written."""
    assert due(Settling("a"), "abb") == [False, False, True]


def test_a_file_that_goes_on_changing_is_waited_for() -> None:
    """Each new state starts the wait for a second look anew."""
    assert due(Settling("a"), "bcdd") == [False, False, False, True]


def test_a_change_taken_back_asks_for_nothing() -> None:
    """A state that was read already needs no reading."""
    assert due(Settling("a"), "baa") == [False, False, False]


def test_a_file_that_never_settles_is_read_after_the_longest_wait() -> None:
    """Seen first at 0 s and changing each half second, it is due at 5 s, the eleventh look."""
    assert LONGEST_WAIT == 5.0
    assert due(Settling("."), "abcdefghijk") == [False] * 10 + [True]


def test_a_file_that_could_not_be_read_stays_due() -> None:
    """It is asked for at each look, even when it is again what was last read."""
    settling = Settling("a")
    assert due(settling, "bb") == [False, True]
    settling.could_not_be_read()
    assert settling.is_due("b", 1.0)
    assert not settling.is_due("a", 1.5)
    assert settling.is_due("a", 2.0)


def test_a_file_that_was_read_is_done_with() -> None:
    """After reading, the new state is the one to compare with."""
    settling = Settling("a")
    assert due(settling, "bb") == [False, True]
    settling.was_read("b")
    assert due(settling, "bb") == [False, False]
