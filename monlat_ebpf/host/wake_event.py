"""An event that wakes a waiting thread, from any thread or from a signal handler."""

from __future__ import annotations

import os
import select
import weakref
from contextlib import suppress


class WakeEvent:
    """Like threading.Event, but `set` is safe in a signal handler.

    A handler runs in the main thread between any two of its steps. If it interrupts `threading.Event.wait` or
    `clear`, the event's lock is held, and `set` in the handler would deadlock.
    """

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._descriptor)

    def set(self) -> None:
        """Set the event: `wait` returns at once, until `clear` is called."""
        os.eventfd_write(self._descriptor, 1)

    def clear(self) -> None:
        """Reset the event."""
        with suppress(BlockingIOError):  # it was not set
            os.eventfd_read(self._descriptor)

    def is_set(self) -> bool:
        """Return whether the event is set."""
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Wait until the event is set, `seconds` at most. Return whether it is set."""
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def fileno(self) -> int:
        """Return a descriptor that is readable while the event is set, for use in select."""
        return self._descriptor
