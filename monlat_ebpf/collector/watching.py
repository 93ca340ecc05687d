"""Which pairs someone looks at. Only their agents are asked for details, and only while somebody asks for them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from monlat_ebpf.collector.detail import Document
from monlat_ebpf.collector.fetch import AskError
from monlat_ebpf.collector.pair import Detail

MOST_DIRECTIONS: Final = 64
"""The one that was looked at longest ago makes room."""

LOOK_SECONDS: Final = 30.0
"""A direction that nobody has looked at for so long is not asked about any more."""

Key = tuple[str, str]


@dataclass(slots=True)
class _Watched:
    looked_at: float
    asked_at: float | None = None
    document: Document | None = None
    document_at: float | None = None
    failure: str | None = None


class Watching:
    """The details of the directions, from one node to another, that are looked at."""

    def __init__(
        self,
        ask: Callable[[str, str], Awaitable[Document]],
        interval_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._interval = interval_seconds
        self._lock = threading.Lock()
        self._watched: dict[Key, _Watched] = {}
        self._wanted = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: set[asyncio.Task[None]] = set()

    def detail_of(self, source: str, to: str) -> Detail | None:
        """Return what the agent said last, and have it asked again; None if it has not answered yet. Any thread."""
        now = self._clock()
        with self._lock:
            watched = self._watched.pop((source, to), None) or _Watched(now)
            watched.looked_at = now
            self._watched[source, to] = watched  # last: the first one is the one looked at longest ago
            if len(self._watched) > MOST_DIRECTIONS:
                del self._watched[next(iter(self._watched))]
            if self._loop is not None and watched.asked_at is None:
                self._loop.call_soon_threadsafe(self._wanted.set)
            if watched.document is None and watched.failure is None:
                return None
            age = None if watched.document_at is None else now - watched.document_at
            return Detail(watched.document, age, watched.failure)

    async def run(self) -> None:
        """Ask about what is looked at, until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._wanted.clear()
            now = self._clock()
            with self._lock:
                for key in [key for key, each in self._watched.items() if now - each.looked_at > LOOK_SECONDS]:
                    del self._watched[key]
                due = [(each, *key) for key, each in self._watched.items() if self._is_due(each, now)]
            for watched, source, to in due:
                watched.asked_at = now
                # a task each: an agent that hangs does not keep the others waiting
                task = asyncio.create_task(self._ask_about(watched, source, to))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
            try:
                async with asyncio.timeout(self._interval / 4 if self._watched else None):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    def _is_due(self, watched: _Watched, now: float) -> bool:
        return watched.asked_at is None or now - watched.asked_at >= self._interval

    async def _ask_about(self, watched: _Watched, source: str, to: str) -> None:
        try:
            document = await self._ask(source, to)
        except AskError as error:
            watched.failure = str(error)
        else:
            with self._lock:
                watched.document, watched.document_at, watched.failure = document, self._clock(), None
