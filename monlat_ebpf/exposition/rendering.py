"""Renders bodies in one thread, one at a time, each for all clients that wait for it.

A body is compressed while it is rendered, and sent only when it is complete. So a slow client never holds up a
rendering or the lock behind it, and a rendering that fails is still answered with an error. zlib needs no lock of the
interpreter: each piece that is compressed is a moment in which the prober can send.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Final, Protocol

from monlat_ebpf.exposition.messages import Response
from monlat_ebpf.exposition.sections import Piece, SectionedGzip

PIECE_BYTES: Final = 32 * 1024  # what a slow client keeps in memory beside the body that it shares

_GZIP: Final = 16 + zlib.MAX_WBITS


class Reader(Protocol):
    """A client that waits for a body or reads it."""

    def rendered(self, rendering: Rendering) -> None:
        """Take the body, or the error."""

    def abort(self) -> None:
        """End the connection."""


class Rendering:
    """One body: first to be rendered, then compressed in memory."""

    def __init__(self, key: object, response: Response, render: Callable[[], Iterable[bytes | Piece]]) -> None:
        self.key: Final = key
        self.response: Final = response
        self.readers: set[Reader] = set()
        self.error: Exception | None = None
        self.length = 0
        self.compressed_length = 0
        self._parts: list[bytes] = []
        self._render = render

    def run(self) -> None:
        """Render until the end, an error, or until nobody waits any more."""
        body = SectionedGzip()
        try:
            for chunk in self._render():
                if not self.readers:
                    return
                body.add(chunk if isinstance(chunk, Piece) else Piece(0, chunk))
        except Exception as error:  # noqa: BLE001  # a defect in one answer must not end the thread; it is reported
            self.error = error
        self._parts = body.end()
        self.length = body.length
        self.compressed_length = sum(map(len, self._parts))

    def pieces(self, *, compressed: bool) -> Iterator[bytes]:
        """Yield the body in pieces of at most PIECE_BYTES."""
        if compressed:
            yield from _slices(self._parts, PIECE_BYTES)
            return
        decompress = zlib.decompressobj(_GZIP)
        for part in _slices(self._parts, 1024):  # small, as each call copies the input that it leaves
            piece = decompress.decompress(part, PIECE_BYTES)
            while piece:
                yield piece
                piece = decompress.decompress(decompress.unconsumed_tail, PIECE_BYTES)


def _slices(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    for part in parts:
        for start in range(0, len(part), size):
            yield part[start : start + size]


class Renderer:
    """The thread that renders. Every method but the thread's own is called in the event loop."""

    def __init__(self, renderings: int, call_in_loop: Callable[..., object]) -> None:
        self._most = renderings
        self._call_in_loop = call_in_loop
        self._queue: SimpleQueue[Rendering | None] = SimpleQueue()
        self._waiting: dict[object, Rendering] = {}
        self._in_memory: list[Rendering] = []
        self._thread = threading.Thread(target=self._work, name="http-render", daemon=True)
        self._thread.start()

    def join(
        self, reader: Reader, key: object, response: Response, render: Callable[[], Iterable[bytes | Piece]]
    ) -> Rendering:
        """Make `reader` wait for the body of that key, which is rendered once if it has not begun yet."""
        if rendering := self._waiting.get(key):
            rendering.readers.add(reader)
            return rendering
        rendering = self._waiting[key] = Rendering(key, response, render)
        rendering.readers.add(reader)
        self._queue.put(rendering)  # last: the thread skips a rendering without readers
        return rendering

    def leave(self, reader: Reader, rendering: Rendering) -> None:
        """Forget `reader`; the last one takes the rendering with it."""
        rendering.readers.discard(reader)
        if not rendering.readers:
            self._waiting.pop(rendering.key, None)
            if rendering in self._in_memory:
                self._in_memory.remove(rendering)

    def close(self, timeout: float) -> None:
        """End the thread, waiting up to `timeout` seconds for it."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _work(self) -> None:
        while rendering := self._queue.get():
            if not rendering.readers:
                continue
            self._waiting.pop(rendering.key, None)  # who joined later would get numbers older than the request
            rendering.run()
            try:
                self._call_in_loop(self._end, rendering)
            except RuntimeError:  # the loop is closed: nobody waits for the body
                return

    def _end(self, rendering: Rendering) -> None:
        if not rendering.readers:
            return
        self._in_memory.append(rendering)
        if len(self._in_memory) > self._most:
            for reader in list(self._in_memory[0].readers):
                reader.abort()
        for reader in list(rendering.readers):
            reader.rendered(rendering)
