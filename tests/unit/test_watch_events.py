"""Bytes of a watch to events, with any chunk boundaries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monlat_ebpf.discovery.api_errors import ApiError, Reason
from monlat_ebpf.discovery.watch_events import WatchEvent, events_of

STREAM = b'{"type":"ADDED","object":{"a":"\xc3\xa9"}}\n\n{"type":"BOOKMARK","object":{}}\r\n'
NO_EVENTS = [b"{", b"nonsense", b"[]", b"{}", b'{"type":"ADDED"}', b'{"type":1,"object":{}}', b"\xff"]
EVENTS = [WatchEvent("ADDED", {"a": "é"}), WatchEvent("BOOKMARK", {})]


def error_of(stream: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        list(events_of([stream]))
    return caught.value


@pytest.mark.parametrize("size", [1, 2, 3, 7, 31, 4096])
def test_chunk_boundaries_do_not_matter(size: int) -> None:
    """A chunk may end within a line or within a character. Empty lines are ignored."""
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert list(events_of(chunks)) == EVENTS


def test_event_is_yielded_before_the_next_chunk_is_read() -> None:
    """A change does not wait for the next one."""
    asked = []

    def chunks() -> Iterator[bytes]:
        for part in (b'{"type":"ADDED","object":{}}\n', b'{"type":"DELETED","object":{}}\n'):
            asked.append(part)
            yield part

    events = events_of(chunks())
    assert next(events).kind == "ADDED"
    assert len(asked) == 1


def test_events_before_a_broken_stream_are_yielded() -> None:
    """The complete events come first, then the error."""
    events = events_of([STREAM + b'{"type":"AD'])
    assert [next(events), next(events)] == EVENTS
    with pytest.raises(ApiError, match="after 11 bytes") as caught:
        next(events)
    assert (caught.value.reason, caught.value.relist) == (Reason.STREAM, False)


@pytest.mark.parametrize("line", NO_EVENTS)
def test_line_that_is_not_an_event_ends_the_watch(line: bytes) -> None:
    """What follows it cannot be trusted."""
    assert error_of(line + b"\n").reason == Reason.STREAM


def test_endless_line_is_rejected() -> None:
    """Memory is bounded: 17 MiB without a line break are an error."""
    with pytest.raises(ApiError, match="longer than 16777216 bytes"):
        list(events_of(b"x" * 2**20 for _ in range(17)))


@pytest.mark.parametrize(
    ("status", "reason", "relist"),
    [
        (b'{"code":410,"message":"too old resource version"}', Reason.GONE, True),
        (b'{"code":500}', Reason.SERVER, True),
        (b'{"code":429}', Reason.THROTTLED, False),
        (b'{"code":403}', Reason.DENIED, False),
        (b'{"code":400}', Reason.REQUEST, True),
        (b'{"code":"x"}', Reason.SERVER, True),
        (b"{}", Reason.SERVER, True),
    ],
)
def test_error_event_has_a_reason(status: bytes, reason: Reason, relist: bool) -> None:
    """All reasons but denied and throttled make the version uncertain, and require a new list."""
    error = error_of(b'{"type":"ERROR","object":' + status + b"}\n")
    assert (error.reason, error.relist) == (reason, relist)
