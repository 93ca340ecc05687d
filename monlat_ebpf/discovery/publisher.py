"""Publishes a burst of changes as one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from monlat_ebpf.discovery import Publish
from monlat_ebpf.model import Peer

_LOG = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 10.0
"""After a failure to make the list, try again at the next change, or after this time."""


class Current(NamedTuple):
    """The peers as they are now, and after how many seconds they change without an event; None: never.

    The zone of this node itself decides, too, which of them are probed.
    """

    peers: Sequence[Peer]
    valid_seconds: float | None = None
    own_zone: str = ""


class Publisher:
    """Publishes the peers in its own thread: the first list at once, later ones `debounce_seconds` after a change.

    `current_peers` returns the peers as they are now. A list equal to the last one, with the same zone of this node, is
    not published again. If `current_peers` or `publish` raises, the last list stays, and both are tried again after
    `retry_seconds` or at the next change; `count_error` is called each time, and the log has it once.
    """

    def __init__(
        self,
        current_peers: Callable[[], Current],
        publish: Publish,
        debounce_seconds: float,
        *,
        count_error: Callable[[], None],
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self._current_peers = current_peers
        self._publish = publish
        self._debounce_seconds = debounce_seconds
        self._count_error = count_error
        self._retry_seconds = retry_seconds
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monlat-publisher", daemon=True)

    def start(self) -> None:
        """Start the thread. It waits for the first change."""
        self._thread.start()

    def changed(self) -> None:
        """Tell the thread that the peers may have changed."""
        self._changed.set()

    def stop(self) -> None:
        """Stop the thread. Nothing is published after this returns."""
        self._stopping.set()
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        last: tuple[Sequence[Peer], str] | None = None
        valid_seconds: float | None = None
        is_failing = False
        while True:
            self._changed.wait(valid_seconds)
            if last is not None:
                self._stopping.wait(self._debounce_seconds)
            # Clear before reading the peers: a change in between then sets it again.
            self._changed.clear()
            if self._stopping.is_set():
                return
            try:
                current = self._current_peers()
                if (current.peers, current.own_zone) != last:
                    self._publish(current.peers)
            except Exception:  # noqa: BLE001  # without this thread, the agent would keep an old list and not say so
                if not is_failing:
                    _LOG.exception("the list of peers cannot be made or used; keeping the last one, and trying again")
                self._count_error()
                is_failing, valid_seconds = True, self._retry_seconds
            else:
                is_failing, valid_seconds = False, current.valid_seconds
                last = current.peers, current.own_zone
