"""When a file that changes may be read: pure."""

from __future__ import annotations

from typing import Final

LONGEST_WAIT: Final = 5.0
"""Seconds: a file that changes at every look is read all the same."""


class Settling:
    """Tells from looks at a file's state when to read it: it has changed, and was the same in two looks.

    A file that is being written is empty or half there for a moment, and half a list of peers is a list of peers.
    A state is whatever compares equal while the file is the same.
    """

    def __init__(self, state: object) -> None:
        self._read = self._last = state
        self._changed_at: float | None = None

    def is_due(self, state: object, now: float) -> bool:
        """Note the `state` seen at `now` (seconds, monotonic); return True when the file is to be read."""
        same, self._last = state == self._last, state
        if state == self._read:
            self._changed_at = None
            return False
        if self._changed_at is None:
            self._changed_at = now
        return same or now - self._changed_at >= LONGEST_WAIT

    def could_not_be_read(self) -> None:
        """Note that reading failed: the file is due until it succeeds, though it be as it was before."""
        self._read = None

    def was_read(self, state: object) -> None:
        """Note that the file was read in `state`."""
        self._read = self._last = state
        self._changed_at = None
