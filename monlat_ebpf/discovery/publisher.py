"""Publishes a burst of changes as one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from monlat_ebpf.discovery import Publish
from monlat_ebpf.model import Peer

_LOG = logging.getLogger(__name__)


class Publisher:
    """Publishes the peers in its own thread: the first list at once, later ones `debounce_seconds` after a change.

    `current_peers` returns the peers as they are now. A list equal to the last one is not published again.
    """

    def __init__(self, current_peers: Callable[[], Sequence[Peer]], publish: Publish, debounce_seconds: float) -> None:
        self._current_peers = current_peers
        self._publish = publish
        self._debounce_seconds = debounce_seconds
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
        last: Sequence[Peer] | None = None
        while True:
            self._changed.wait()
            if last is not None:
                self._stopping.wait(self._debounce_seconds)
            # Clear before reading the peers: a change in between then sets it again.
            self._changed.clear()
            if self._stopping.is_set():
                return
            peers = self._current_peers()
            if peers == last:
                continue
            last = peers
            try:
                self._publish(peers)
            except Exception:  # noqa: BLE001  # an error of the receiver must not end discovery
                _LOG.exception("the list of %d peers was not accepted; retrying at the next change", len(peers))
