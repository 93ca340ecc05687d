"""Peers from a file, followed as it changes.

The file is looked at, not watched: a look each half second costs nothing, and sees an edit in place, an atomic
rename, the swapped symlinks of a Kubernetes ConfigMap, and a network file system alike.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from monlat_ebpf.discovery import Publish
from monlat_ebpf.discovery.peers_file import PeerList, parse
from monlat_ebpf.discovery.settling import Settling
from monlat_ebpf.discovery.static_metrics import Reason, StaticMetrics
from monlat_ebpf.errors import ConfigError

LARGEST_FILE: Final = 4 * 1024 * 1024
"""Bytes: 40,000 peers, and a bound on what a wrong path can cost."""

_log = logging.getLogger(__name__)

FileState = tuple[int, ...] | str
"""What tells one content of a file from the next; a text when there is no looking at it, or it changed meanwhile."""


class StaticDiscovery:
    """Publishes the peers that `file` lists, without `node_name`, and again when the list changes.

    A change is read by the second look that sees it: within a second by default. A file that cannot be read or is
    wrong keeps the last good list; that is logged and counted once for each content. It is a `Discovery`.
    """

    def __init__(
        self,
        file: Path,
        *,
        node_name: str,
        max_peers: int,
        registry: CollectorRegistry,
        look_each_seconds: float = 0.5,
    ) -> None:
        self._file = file
        self._node_name = node_name
        self._max_peers = max_peers
        self._look_each_seconds = look_each_seconds
        self._metrics = StaticMetrics(registry)
        self._content = b""
        self._content_error = ""
        self._read_error = ""
        self._list = PeerList(())
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="peers-file", daemon=True)

    @property
    def own_zone(self) -> str:
        """The zone of this node's own entry; "" without one."""
        return self._list.own_zone

    def start(self, publish: Publish) -> None:
        """Publish the peers of the file, then follow it in a thread. Raises ConfigError when it is not usable."""
        try:
            state, self._content = _read(self._file)
        except OSError as error:
            raise ConfigError(_unreadable(self._file, error)) from error
        self._publish = publish
        self._take(self._parse(self._content))
        self._settling = Settling(state)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and return when it has ended."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.wait(self._look_each_seconds):
            seen = _look(self._file)
            if self._settling.is_due(seen, time.monotonic()):
                self._reload(seen)

    def _reload(self, seen: FileState) -> None:
        try:
            state, content = _read(self._file)
        except OSError as error:
            self._settling.could_not_be_read()
            self._note_unreadable(_unreadable(self._file, error))
            return
        if state != seen:
            return  # it is being written just now; a later look finds it settled
        self._settling.was_read(state)
        if self._read_error:
            _log.info("%s can be read again", self._file)
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
            self._metrics.errors.labels(reason=Reason.PARSE).inc()
            _log.error("%s; the last good list, of %d, stays", error, len(self._list.peers))
            return
        self._content_error = ""
        self._metrics.reloads.inc()
        if listed == self._list:
            _log.info("%s changed, its peers did not", self._file)
        else:
            self._take(listed)

    def _parse(self, content: bytes) -> PeerList:
        return parse(
            decode(content, self._file), file=str(self._file), max_peers=self._max_peers, node_name=self._node_name
        )

    def _take(self, listed: PeerList) -> None:
        self._list = listed
        self._publish(listed.peers)
        self._metrics.up.set(1)
        self._metrics.last_change.set_to_current_time()
        if listed.peers:
            _log.info("peers file %s: %d to probe", self._file, len(listed.peers))
        else:
            _log.warning("%s lists no node but this one: nothing is probed until it does", self._file)

    def _note_unreadable(self, error: str) -> None:
        self._metrics.up.set(0)
        if error != self._read_error:
            self._read_error = error
            self._metrics.errors.labels(reason=Reason.READ).inc()
            _log.error("%s; the last good list, of %d, stays", error, len(self._list.peers))


def decode(content: bytes, file: Path) -> str:
    """Return the text of the peers file's `content`. Raises ConfigError when it is too long or not UTF-8."""
    if len(content) > LARGEST_FILE:
        raise ConfigError(
            f"{file}: it is over {LARGEST_FILE >> 20} MiB long, which no list of peers is; name another file"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file}:{line}: byte 0x{content[error.start]:02X} is not UTF-8; save the file as UTF-8"
        ) from error


def _read(file: Path) -> tuple[FileState, bytes]:
    """Return the file's state and its content, or a byte more than LARGEST_FILE of it. Raises OSError."""
    # Without O_NONBLOCK the open of a pipe would wait for its writer for ever.
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            content = opened.read(LARGEST_FILE + 1)
        state = _state(status)
        return (state if state == _state(os.fstat(descriptor)) else "changed while it was read"), content
    finally:
        os.close(descriptor)


def _look(file: Path) -> FileState:
    try:
        return _state(file.stat())
    except OSError as error:
        return str(error)


def _state(status: os.stat_result) -> FileState:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _unreadable(file: Path, error: OSError) -> str:
    return (
        f"peers file {file} cannot be read: {error.strerror or error}; see that it exists and that monlat may read it"
    )
