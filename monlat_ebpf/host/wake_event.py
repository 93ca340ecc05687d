"""Wakes a waiting thread, from any thread and from a signal handler."""

from __future__ import annotations

import os
import select
import weakref
from contextlib import suppress


class WakeEvent:
    """What threading.Event is, for signal handlers as well.

    A handler runs in the main thread between any two steps of it. Where that is inside `Event.wait` or
    `Event.clear`, the event's own lock is held, and `set` in the handler would wait for it for ever.
    """

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._descriptor)

    def set(self) -> None:
        """Make `wait` return, now or when it is next called."""
        os.eventfd_write(self._descriptor, 1)

    def clear(self) -> None:
        """Forget what was set so far."""
        with suppress(BlockingIOError):  # it was not set
            os.eventfd_read(self._descriptor)

    def is_set(self) -> bool:
        """Return whether it is set."""
        return bool(select.select([self._descriptor], [], [], 0)[0])

    def wait(self, seconds: float) -> None:
        """Return when it is set, or after `seconds`."""
        select.select([self._descriptor], [], [], seconds)

    def fileno(self) -> int:
        """Return the descriptor, readable while it is set: for select, beside others."""
        return self._descriptor
