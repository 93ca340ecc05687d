"""A watch's bytes, cut wherever the network likes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monlat_ebpf.discovery.api_errors import ApiError, Reason
from monlat_ebpf.discovery.watch_events import WatchEvent, events_of

STREAM = b'{"type":"ADDED","object":{"a":"\xc3\xa9"}}\n\n{"type":"BOOKMARK","object":{}}\r\n'
NO_EVENTS = [b"{", b"nonsense", b"[]", b"{}", b'{"type":"ADDED"}', b'{"type":1,"object":{}}', b"\xff"]
EVENTS = [WatchEvent("ADDED", {"a": "é"}), WatchEvent("BOOKMARK", {})]


def trouble_of(stream: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        list(events_of([stream]))
    return caught.value


@pytest.mark.parametrize("size", [1, 2, 3, 7, 31, 4096])
def test_lines_are_whole_whatever_the_chunks(size: int) -> None:
    """A chunk may end within a line, within a character even; empty lines say nothing."""
    chunks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert list(events_of(chunks)) == EVENTS


def test_an_event_is_told_before_the_next_chunk_is_asked_for() -> None:
    """A change must not wait for the one after it."""
    asked = []

    def chunks() -> Iterator[bytes]:
        for part in (b'{"type":"ADDED","object":{}}\n', b'{"type":"DELETED","object":{}}\n'):
            asked.append(part)
            yield part

    events = events_of(chunks())
    assert next(events).kind == "ADDED"
    assert len(asked) == 1


def test_events_before_a_cut_count() -> None:
    """What came whole is told; then the cut is."""
    events = events_of([STREAM + b'{"type":"AD'])
    assert [next(events), next(events)] == EVENTS
    with pytest.raises(ApiError, match="after 11 bytes") as caught:
        next(events)
    assert (caught.value.reason, caught.value.relist) == (Reason.STREAM, False)


@pytest.mark.parametrize("line", NO_EVENTS)
def test_what_is_no_event_ends_the_watch(line: bytes) -> None:
    """There is no telling what comes after it."""
    assert trouble_of(line + b"\n").reason == Reason.STREAM


def test_an_endless_line_is_not_collected_for_ever() -> None:
    """Memory is bounded: 17 MiB without a line's end are too much."""
    with pytest.raises(ApiError, match="longer than 16777216 bytes"):
        list(events_of(b"x" * 2**20 for _ in range(17)))


@pytest.mark.parametrize(
    ("told", "reason", "relist"),
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
def test_an_error_within_the_watch_has_a_reason(told: bytes, reason: Reason, relist: bool) -> None:
    """All but being refused or throttled make the version uncertain, so that the list is read anew."""
    trouble = trouble_of(b'{"type":"ERROR","object":' + told + b"}\n")
    assert (trouble.reason, trouble.relist) == (reason, relist)
