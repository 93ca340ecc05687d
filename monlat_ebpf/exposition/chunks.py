"""Renders long texts chunk by chunk, so that the whole text is never in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

CHUNK_BYTES: Final = 64 * 1024  # few calls for each, and small beside the agent's memory


def in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield `pieces` joined to chunks of CHUNK_BYTES or up to one piece more; the last chunk is shorter."""
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
