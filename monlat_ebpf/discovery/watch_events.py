"""Bytes of a watch to events: pure.

A watch is a stream of JSON objects, one per line, each with a `type` and an `object`:
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from monlat_ebpf.discovery.api_errors import ApiError, Reason

_LONGEST_LINE: Final = 16 * 2**20
"""Bytes. The API server stores no object larger than about 3 MB; a slice of 1,000 endpoints has 0.5 MB."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event. `kind` is ADDED, MODIFIED, DELETED, BOOKMARK, or unknown to us; `object` is the parsed JSON."""

    kind: str
    object: dict[str, Any]


def events_of(chunks: Iterable[bytes]) -> Iterator[WatchEvent]:
    """Yield each event as soon as its line is complete. `chunks` may split lines anywhere.

    Raises ApiError when the stream ends within a line, a line is not an event, or the event is an ERROR.
    """
    for line in _lines_of(chunks):
        yield _event_of(line)


def _lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for chunk in chunks:
        searched = len(buffer)
        buffer += chunk
        while (end := buffer.find(b"\n", searched)) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            searched = 0
            if line.strip():
                yield line
        if len(buffer) > _LONGEST_LINE:
            raise ApiError(Reason.STREAM, f"an event is longer than {_LONGEST_LINE} bytes")
    if buffer.strip():
        raise ApiError(Reason.STREAM, f"the watch ended within an event, after {len(buffer)} bytes of it")


def _event_of(line: bytes) -> WatchEvent:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:  # the latter for deep nesting
        raise ApiError(Reason.STREAM, f"the watch sent a line that is not JSON: {error}") from error
    kind = event.get("type") if isinstance(event, dict) else None
    content = event.get("object") if isinstance(event, dict) else None
    if not isinstance(kind, str) or not isinstance(content, dict):
        raise ApiError(Reason.STREAM, f"the watch sent a line that is not an event: {line[:80]!r}")
    if kind == "ERROR":
        code = content.get("code")
        raise ApiError.of_status(code if isinstance(code, int) else 500, f"within the watch: {_message_of(content)}")
    return WatchEvent(kind, content)


def _message_of(status: dict[str, Any]) -> str:
    return f"{status.get('code')} {status.get('message') or status.get('reason') or 'no message'}"[:200]
