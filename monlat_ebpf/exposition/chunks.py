"""Sending much in pieces: an answer that never stands in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

CHUNK_BYTES: Final = 64 * 1024  # large enough that sending costs little, small beside the agent's memory


def in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield `pieces` joined to CHUNK_BYTES each, longer by less than one piece; the last one is shorter."""
    chunk: list[bytes] = []
    size = 0
    for piece in pieces:
        chunk.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(chunk)
            chunk.clear()
            size = 0
    yield b"".join(chunk)
