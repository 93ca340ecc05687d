"""Peers from a file, or targets from another one; each is read again when it changes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from monlat_ebpf.discovery import Publish
from monlat_ebpf.discovery.metrics import PEERS, TARGETS, StaticMetrics
from monlat_ebpf.discovery.peers_file import PeerList, parse
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.host.followed_file import POLL_SECONDS, FileState, Follower, poll, read
from monlat_ebpf.model import Address, PeerKind

LARGEST_FILE: Final = 4 * 1024 * 1024
"""Bytes: 40,000 peers. Limits the memory that a wrong path can cost."""

_TITLES: Final = {PeerKind.NODE: "peers file", PeerKind.TARGET: "targets file"}
_METRICS: Final = {PeerKind.NODE: PEERS, PeerKind.TARGET: TARGETS}

_LOG = logging.getLogger(__name__)


class Reason(StrEnum):
    """Why the peers file could not be used: it is unreadable, or its content is wrong."""

    READ = "read"
    PARSE = "parse"


class StaticDiscovery:
    """Publishes the peers that `file` lists, without `node_name`, and again when the list changes.

    `kind` says what the file lists, for each peer, the log and the names of the metrics.
    The second poll that sees a change reads the file: within a second by default. If the file is unreadable or wrong,
    the last good list stays, and the error is logged and counted once per content. Implements `Discovery`.
    """

    def __init__(
        self,
        file: Path,
        *,
        node_name: str,
        registry: CollectorRegistry,
        kind: PeerKind = PeerKind.NODE,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._file = file
        self._node_name = node_name
        self._kind = kind
        self._title = _TITLES[kind]
        self._metrics = StaticMetrics(registry, Reason, _METRICS[kind])
        self._content = b""
        self._content_error = ""
        self._read_error = ""
        self._list = PeerList(())
        self._follower = Follower(
            lambda: poll(file), self._reload, name=self._title.replace(" ", "-"), poll_seconds=poll_seconds
        )

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
            state, self._content = read(self._file, LARGEST_FILE)
        except OSError as error:
            raise ConfigError(self._unreadable(error)) from error
        self._publish = publish
        self._use(self._parse(self._content))
        self._follower.start(state)

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        self._follower.stop()

    def _reload(self, seen: object) -> FileState | None:
        """Use the file as it is now, and return its state; None if it cannot be read, or not yet."""
        try:
            state, content = read(self._file, LARGEST_FILE)
        except OSError as error:
            self._report_unreadable(self._unreadable(error))
            return None
        if state != seen:
            return None  # it is being written; a later poll reads it
        if self._read_error:
            _LOG.info("%s can be read again", self._file)
            self._read_error = ""
        if content != self._content:
            self._content = content
            self._reparse()
        self._metrics.up.set(not self._content_error)
        return state

    def _reparse(self) -> None:
        try:
            listed = self._parse(self._content)
        except ConfigError as error:
            self._content_error = str(error)
            _LOG.error("%s; keeping the last good list (peers: %d)", error, len(self._list.peers))
            self._metrics.count_error(Reason.PARSE)
            return
        self._content_error = ""
        if listed == self._list:
            _LOG.info("%s changed, but not its peers", self._file)
        else:
            self._use(listed)
        self._metrics.reloads.inc()

    def _parse(self, content: bytes) -> PeerList:
        listed = parse(decode(content, self._file), file=str(self._file), node_name=self._node_name)
        return replace(listed, peers=tuple(replace(peer, kind=self._kind) for peer in listed.peers))

    def _use(self, listed: PeerList) -> None:
        for warning in listed.warnings:
            if warning not in self._list.warnings:
                _LOG.warning("%s", warning)
        self._list = listed
        self._publish(listed.peers)
        self._metrics.up.set(1)
        self._metrics.last_change.set_to_current_time()
        if listed.peers:
            _LOG.info("%s %s: %d peers", self._title, self._file, len(listed.peers))
        elif self._kind is PeerKind.NODE:
            _LOG.warning("%s lists no peer: nothing is probed until it does", self._file)
        else:
            _LOG.info("%s %s: empty", self._title, self._file)

    def _unreadable(self, error: OSError) -> str:
        return (
            f"{self._title} {self._file} cannot be read: {error.strerror or error}; "
            "check that it exists and that monlat may read it"
        )

    def _report_unreadable(self, error: str) -> None:
        self._metrics.up.set(0)
        if error != self._read_error:
            self._read_error = error
            _LOG.error("%s; keeping the last good list (peers: %d)", error, len(self._list.peers))
            self._metrics.count_error(Reason.READ)


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
