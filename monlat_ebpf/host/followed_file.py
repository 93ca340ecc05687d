"""A file that is read again when it changes.

The file is polled, not watched with inotify. Polling twice a second costs nothing, and it notices an edit in place, an
atomic rename, the swapped symlinks of a Kubernetes ConfigMap or Secret, and changes on a network file system.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 0.5

LONGEST_DEBOUNCE: Final = 5.0
"""Seconds after which a file is read although it changes at every poll."""

FileState = tuple[int, ...] | str
"""Differs whenever the content may differ. A text if the file cannot be examined, or changed while it was read."""


class Debounce:
    """Decides when to read a changing file: when it has changed, and two polls in a row saw the same state.

    A file that is being written is empty or incomplete for a moment, and half a list of peers is still a valid list.
    A state can be any value that is equal as long as the file is unchanged.
    """

    def __init__(self, state: object) -> None:
        self._read = self._last = state
        self._changed_at: float | None = None

    def is_due(self, state: object, now: float) -> bool:
        """Note the `state` seen at `now` (monotonic seconds); return whether to read the file."""
        same, self._last = state == self._last, state
        if state == self._read:
            self._changed_at = None
            return False
        if self._changed_at is None:
            self._changed_at = now
        return same or now - self._changed_at >= LONGEST_DEBOUNCE

    def read_failed(self) -> None:
        """Note that reading failed. The file stays due until reading succeeds, even in the state last read."""
        self._read = None

    def was_read(self, state: object) -> None:
        """Note that the file was read in `state`."""
        self._read = self._last = state
        self._changed_at = None


class Follower:
    """A thread that calls `reload` when what `poll` returns has changed, and Debounce says so.

    `poll` returns the present state, any value. `reload` gets it, and returns the state in which it has read; None if
    it could not read, so that it is called again.
    """

    def __init__(
        self,
        poll: Callable[[], object],
        reload: Callable[[object], object | None],
        *,
        name: str,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._poll = poll
        self._reload = reload
        self._poll_seconds = poll_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=name, daemon=True)

    def start(self, state: object) -> None:
        """Follow in a thread, from `state` on."""
        self._debounce = Debounce(state)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, if it was started, and wait for its end."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            seen = self._poll()
            if self._debounce.is_due(seen, time.monotonic()):
                state = self._reload(seen)
                if state is None:
                    self._debounce.read_failed()
                else:
                    self._debounce.was_read(state)


def read(file: Path, largest: int) -> tuple[FileState, bytes]:
    """Return the file's state and its content, cut one byte after `largest` bytes. Raises OSError."""
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            content = opened.read(largest + 1)
        state = _state(status)
        return (state if state == _state(os.fstat(descriptor)) else "changed while it was read"), content
    finally:
        os.close(descriptor)


def poll(file: Path) -> FileState:
    """Return the file's state."""
    try:
        return _state(file.stat())
    except OSError as error:
        return str(error)


def _state(status: os.stat_result) -> FileState:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
