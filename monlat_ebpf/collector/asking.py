"""Asks one agent again and again. All tasks share the limits on connections, on bodies in memory, and a parser."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Final, TypeVar
from urllib.parse import urlencode

from monlat_ebpf.collector.answer import Row, parse_row
from monlat_ebpf.collector.config import CollectorConfig, Scheme
from monlat_ebpf.collector.counts import AgentCounts, parse_answer
from monlat_ebpf.collector.detail import Document, parse_detail
from monlat_ebpf.collector.fetch import AskError, Exchange, Failure
from monlat_ebpf.collector.slots import Slots
from monlat_ebpf.collector.store import Store
from monlat_ebpf.collector.windows import Windows
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Peer

CONNECTIONS: Final = 256
"""Agents asked at once: hanging ones must not keep the others waiting, and a socket each is little."""

BODIES: Final = 8
"""Answers in memory at once, of up to `fetch.LARGEST_ANSWER` bytes each."""

RETRY_SECONDS: Final = 1.0

_PATH: Final = "/api/v1/peers"
_COUNTS_PATH: Final = f"{_PATH}?buckets=true"

_LOG = logging.getLogger(__name__)

Parsed = TypeVar("Parsed")


class Asker:
    """Asks agents as `config` says. `parser` runs what takes time; `observe` gets each result and its seconds."""

    def __init__(
        self,
        config: CollectorConfig,
        store: Store,
        windows: Windows,
        slots: Slots,
        parser: Executor,
        observe: Callable[[Failure | None, float], None],
    ) -> None:
        """Read the files of the access. Raises ConfigError."""
        self._config = config
        self._store = store
        self._windows = windows
        self._slots = slots
        self._parser = parser
        self._observe = observe
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._bodies = asyncio.Semaphore(BODIES)
        self._context: ssl.SSLContext | None = None
        self._headers: Mapping[str, str] = {}
        self._error = ""
        self._read_access()

    async def follow(self, peer: Peer) -> None:
        """Ask for the row of `peer` in every slot, until cancelled.

        After one failure the agent is asked again soon; after more, in the next slot.
        """
        failures = 0
        while True:
            failures = 0 if await self._ask_row(peer) else failures + 1
            pause = self._slots.pause(peer.name, time.monotonic())
            await asyncio.sleep(min(pause, RETRY_SECONDS) if failures == 1 else pause)

    async def _ask_row(self, peer: Peer) -> bool:
        began = time.monotonic()
        ends_window = self._windows.ends_window(peer.name, began)
        path = _COUNTS_PATH if ends_window and self._windows.wants_histograms(peer.name) else _PATH

        def parse(body: bytes) -> tuple[Row, AgentCounts | None]:
            if not ends_window:
                return parse_row(body, peer.name, self._store.names()), None
            row, counts = parse_answer(body, peer.name, self._store.names())
            self._windows.answered(peer.name, began, counts)
            return row, counts

        try:
            row, counts = await self._ask(peer, path, parse)
        except AskError as error:
            self._observe(error.failure, time.monotonic() - began)
            self._store.failed(peer.name, error)
            self._windows.failed(peer.name, began, error.failure)
            return False
        self._observe(None, time.monotonic() - began)
        self._store.answered(peer.name, row, counts)
        return True

    async def ask_detail(self, peer: Peer, about: str) -> Document:
        """Return what the agent of `peer` says of one of its peers. Raises AskError."""
        path = f"{_PATH}?{urlencode({'peer': about})}"
        return await self._ask(peer, path, lambda body: parse_detail(body, peer.name, about))

    async def _ask(self, peer: Peer, path: str, parse: Callable[[bytes], Parsed]) -> Parsed:
        timeout = self._config.timeout_seconds
        async with self._connections:
            exchange = await Exchange.begin(
                [str(address) for address in peer.addresses],
                self._config.agent_port,
                path,
                self._headers,
                timeout_seconds=timeout,
                context=self._context,
                server_name=self._config.agent_server_name,
            )
            try:
                async with self._bodies:
                    body = await exchange.body(timeout)
                    return await asyncio.get_running_loop().run_in_executor(self._parser, parse, body)
            finally:
                exchange.close()

    def read_access_again(self) -> None:
        """Use the files of the access as they are now; if one is not usable, go on with what was read before."""
        try:
            self._read_access()
        except ConfigError as error:
            if str(error) != self._error:
                _LOG.error("%s; going on with what was read before", error)
            self._error = str(error)
        else:
            self._error = ""

    def _read_access(self) -> None:
        access = self._config.access
        context = access.context() if self._config.agent_scheme is Scheme.HTTPS else None
        authorization = access.authorization()
        self._headers = {} if authorization is None else {"Authorization": authorization}
        self._context = context
