"""Peers from a file, read again when it changes.

The file is polled, not watched with inotify. Polling twice a second costs nothing, and it notices an edit in place, an
atomic rename, the swapped symlinks of a Kubernetes ConfigMap, and changes on a network file system.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from monlat_ebpf.discovery import Publish
from monlat_ebpf.discovery.metrics import StaticMetrics
from monlat_ebpf.discovery.peers_file import PeerList, parse
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Address

LARGEST_FILE: Final = 4 * 1024 * 1024
"""Bytes: 40,000 peers. Limits the memory that a wrong path can cost."""

LONGEST_DEBOUNCE: Final = 5.0
"""Seconds after which a file is read although it changes at every poll."""

_LOG = logging.getLogger(__name__)

FileState = tuple[int, ...] | str
"""Differs whenever the content may differ. A text if the file cannot be examined, or changed while it was read."""


class Reason(StrEnum):
    """Why the peers file could not be used: it is unreadable, or its content is wrong."""

    READ = "read"
    PARSE = "parse"


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


class StaticDiscovery:
    """Publishes the peers that `file` lists, without `node_name`, and again when the list changes.

    The second poll that sees a change reads the file: within a second by default. If the file is unreadable or wrong,
    the last good list stays, and the error is logged and counted once per content. Implements `Discovery`.
    """

    def __init__(
        self,
        file: Path,
        *,
        node_name: str,
        max_peers: int,
        registry: CollectorRegistry,
        poll_seconds: float = 0.5,
    ) -> None:
        self._file = file
        self._node_name = node_name
        self._max_peers = max_peers
        self._poll_seconds = poll_seconds
        self._metrics = StaticMetrics(registry, Reason)
        self._content = b""
        self._content_error = ""
        self._read_error = ""
        self._list = PeerList(())
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="peers-file", daemon=True)

    @property
    def own_zone(self) -> str:
        """The zone of this node's own entry; "" if it has none."""
        return self._list.own_zone

    @property
    def own_addresses(self) -> Sequence[Address]:
        """The addresses of this node's own entry; empty if it has none."""
        return self._list.own_addresses

    def start(self, publish: Publish) -> None:
        """Publish the peers of the file, then follow it in a thread. Raises ConfigError when the file is unusable."""
        try:
            state, self._content = _read(self._file)
        except OSError as error:
            raise ConfigError(_unreadable(self._file, error)) from error
        self._publish = publish
        self._use(self._parse(self._content))
        self._debounce = Debounce(state)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            seen = _poll(self._file)
            if self._debounce.is_due(seen, time.monotonic()):
                self._reload(seen)

    def _reload(self, seen: FileState) -> None:
        try:
            state, content = _read(self._file)
        except OSError as error:
            self._debounce.read_failed()
            self._report_unreadable(_unreadable(self._file, error))
            return
        if state != seen:
            return  # it is being written; a later poll reads it
        self._debounce.was_read(state)
        if self._read_error:
            _LOG.info("%s can be read again", self._file)
            self._read_error = ""
        if content != self._content:
            self._content = content
            self._reparse()
        self._metrics.up.set(not self._content_error)

    def _reparse(self) -> None:
        try:
            listed = self._parse(self._content)
        except ConfigError as error:
            self._content_error = str(error)
            self._metrics.count_error(Reason.PARSE)
            _LOG.error("%s; keeping the last good list (peers: %d)", error, len(self._list.peers))
            return
        self._content_error = ""
        self._metrics.reloads.inc()
        if listed == self._list:
            _LOG.info("%s changed, but not its peers", self._file)
        else:
            self._use(listed)

    def _parse(self, content: bytes) -> PeerList:
        return parse(
            decode(content, self._file), file=str(self._file), max_peers=self._max_peers, node_name=self._node_name
        )

    def _use(self, listed: PeerList) -> None:
        for warning in listed.warnings:
            if warning not in self._list.warnings:
                _LOG.warning("%s", warning)
        self._list = listed
        self._publish(listed.peers)
        self._metrics.up.set(1)
        self._metrics.last_change.set_to_current_time()
        if listed.peers:
            _LOG.info("peers file %s: %d peers", self._file, len(listed.peers))
        else:
            _LOG.warning("%s lists no peer: nothing is probed until it does", self._file)

    def _report_unreadable(self, error: str) -> None:
        self._metrics.up.set(0)
        if error != self._read_error:
            self._read_error = error
            self._metrics.count_error(Reason.READ)
            _LOG.error("%s; keeping the last good list (peers: %d)", error, len(self._list.peers))


def decode(content: bytes, file: Path) -> str:
    """Decode the peers file's `content`. Raises ConfigError when it is too long or not UTF-8."""
    if len(content) > LARGEST_FILE:
        raise ConfigError(
            f"{file}: it is larger than {LARGEST_FILE >> 20} MiB, too large for a list of peers; name another file"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file}:{line}: byte 0x{content[error.start]:02X} is not UTF-8; save the file as UTF-8"
        ) from error


def _read(file: Path) -> tuple[FileState, bytes]:
    """Return the file's state and its content, cut one byte after LARGEST_FILE. Raises OSError."""
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            content = opened.read(LARGEST_FILE + 1)
        state = _state(status)
        return (state if state == _state(os.fstat(descriptor)) else "changed while it was read"), content
    finally:
        os.close(descriptor)


def _poll(file: Path) -> FileState:
    try:
        return _state(file.stat())
    except OSError as error:
        return str(error)


def _state(status: os.stat_result) -> FileState:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _unreadable(file: Path, error: OSError) -> str:
    return (
        f"peers file {file} cannot be read: {error.strerror or error}; check that it exists and that monlat may read it"
    )
