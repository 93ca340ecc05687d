"""Publishing changes that come in bursts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from monlat_ebpf.discovery import Publish
from monlat_ebpf.model import Peer

_log = logging.getLogger(__name__)


class Publisher:
    """Publishes the peers from a thread of its own: the first list at once, then what settled in `settle_seconds`.

    A list equal to the last is not published again. `collect` returns the peers as they are now.
    """

    def __init__(self, collect: Callable[[], Sequence[Peer]], publish: Publish, settle_seconds: float) -> None:
        self._collect = collect
        self._publish = publish
        self._settle_seconds = settle_seconds
        self._changed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monlat-publisher", daemon=True)

    def start(self) -> None:
        """Start the thread; it waits for the first change."""
        self._thread.start()

    def changed(self) -> None:
        """Say that the peers may have changed."""
        self._changed.set()

    def stop(self) -> None:
        """End the thread; nothing is published once this has returned."""
        self._stopping.set()
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        last: Sequence[Peer] | None = None
        while True:
            self._changed.wait()
            if last is not None:
                self._stopping.wait(self._settle_seconds)
            # Cleared before collecting: what changes in between is collected again.
            self._changed.clear()
            if self._stopping.is_set():
                return
            peers = self._collect()
            if peers == last:
                continue
            last = peers
            try:
                self._publish(peers)
            except Exception:  # noqa: BLE001  # whatever the reader of the list does, following it must go on
                _log.exception("the list of %d peers was not taken; the next change is offered again", len(peers))
