"""Some hours of each pair of one agent, within a fixed number of bytes. Pure.

A frame holds a number of 16 bits for each pair: the RTT on a logarithmic scale, and whether a probe was lost since
the frame before. When the bytes are used up, every second frame goes, and later ones are taken half as often: so
the time covered stays, and its resolution suffers. The RTT of a frame is one that the agent reported, never a mean.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median_low
from typing import Final, NamedTuple

HISTORY_SECONDS: Final = 6 * 3600.0
"""Older frames go, whether there is room or not."""

LEAST_POINTS: Final = 12
"""Before a pair has so many points, it has no past to compare with."""

_LOWEST: Final = 1e-6  # seconds; shorter and longer times are taken for the limits
_HIGHEST: Final = 100.0
_STEPS: Final = 32_766  # of 0.056 % each
_STEP: Final = math.log(_HIGHEST / _LOWEST) / _STEPS
_FRAME_BYTES: Final = 4  # its time
_PAIR_BYTES: Final = 2
_NAME_BYTES: Final = 8  # a pointer for each pair, once for all frames of the same pairs


class Point(NamedTuple):
    """One moment of a pair. `rtt_seconds` is None if the last probe before it was lost, or none was sent."""

    unix_seconds: int
    rtt_seconds: float | None
    is_lost: bool
    """Whether a probe was lost since the point before."""


def encode(rtt_seconds: float, is_lost: bool) -> int:
    """Return 16 bits; NaN is no RTT."""
    if math.isnan(rtt_seconds):
        return int(is_lost)
    step = round(math.log(min(max(rtt_seconds, _LOWEST), _HIGHEST) / _LOWEST) / _STEP)
    return (step + 1) << 1 | is_lost


def decode_rtt(code: int) -> float | None:
    """Return the RTT in seconds."""
    return _LOWEST * math.exp(((code >> 1) - 1) * _STEP) if code > 1 else None


class _Segment:
    """Consecutive frames of the same pairs."""

    def __init__(self, to: tuple[str, ...]) -> None:
        self.to: Final = to
        self.times = array("I")
        self.codes = array("H")

    @property
    def size(self) -> int:
        return _FRAME_BYTES * len(self.times) + _PAIR_BYTES * len(self.codes) + _NAME_BYTES * len(self.to)

    def append(self, unix_seconds: int, codes: Sequence[int]) -> None:
        self.times.append(unix_seconds)
        self.codes.extend(codes)

    def note_losses(self, codes: Sequence[int]) -> None:
        """Add the losses of `codes` to the last frame."""
        start = len(self.codes) - len(self.to)
        for position, code in enumerate(codes, start):
            self.codes[position] |= code & 1

    def drop_before(self, unix_seconds: int) -> None:
        dropped = sum(time < unix_seconds for time in self.times)
        del self.times[:dropped]
        del self.codes[: dropped * len(self.to)]

    def thinned(self) -> _Segment:
        """Return the segment with the later of every two frames; the losses of the earlier one are added to it."""
        kept = _Segment(self.to)
        width = len(self.to)
        frames = [self.codes[width * number : width * (number + 1)] for number in range(len(self.times))]
        for number in range(1, len(frames), 2):
            both = zip(frames[number - 1], frames[number], strict=True)
            kept.append(self.times[number], [code | earlier & 1 for earlier, code in both])
        if len(frames) % 2:
            kept.append(self.times[-1], frames[-1])
        return kept

    def column(self, to: str) -> Sequence[int]:
        """Return the codes of one pair; empty if it is not in the segment."""
        try:
            return self.codes[self.to.index(to) :: len(self.to)]
        except ValueError:
            return ()


class RowHistory:
    """The history of the pairs from one node, in at most `share` bytes."""

    def __init__(self, share: int) -> None:
        self.share = share
        self._pause = 0  # seconds between two frames
        self._segments: list[_Segment] = []

    def record(self, unix_seconds: int, to: tuple[str, ...], rtts: Sequence[float], losses: Iterable[bool]) -> None:
        """Take the RTT of each pair (NaN: none) and whether it has lost a probe since the last call."""
        codes = [encode(rtt, is_lost) for rtt, is_lost in zip(rtts, losses, strict=True)]
        last = self._segments[-1] if self._segments else None
        if last is None or last.to != to:
            self._segments.append(last := _Segment(to))
        if last.times and last.times[-1] <= unix_seconds < last.times[-1] + self._pause:
            last.note_losses(codes)
            return
        last.append(unix_seconds, codes)
        self._limit(unix_seconds)

    def _limit(self, unix_seconds: int) -> None:
        oldest = max(unix_seconds - int(HISTORY_SECONDS), 0)
        for segment in self._segments:
            if segment.times[0] < oldest:
                segment.drop_before(oldest)
        self._segments = [segment for segment in self._segments if segment.times]
        while self.size > self.share and self._segments:
            if all(len(segment.times) == 1 for segment in self._segments):
                del self._segments[0]
                continue
            self._pause = max(2 * self._pause, 2 * self._shortest_pause())
            self._segments = [segment.thinned() for segment in self._segments]

    def _shortest_pause(self) -> int:
        """Return the shortest time between two frames, at least a second."""
        gaps = [later - earlier for segment in self._segments for earlier, later in pairwise(segment.times)]
        return max(min(gaps), 1)

    @property
    def size(self) -> int:
        """Bytes in use, without the objects around the arrays."""
        return sum(segment.size for segment in self._segments)

    def points(self, to: str) -> Iterator[Point]:
        """Yield what is known of the pair to node `to`, oldest first."""
        for segment in self._segments:
            for time, code in zip(segment.times, segment.column(to), strict=False):
                if code:
                    yield Point(time, decode_rtt(code), bool(code & 1))

    def typical_rtt(self, to: str) -> float:
        """Return the median RTT of the pair's points in seconds; NaN if these are fewer than LEAST_POINTS."""
        codes = [code for segment in self._segments for code in segment.column(to) if code > 1]
        found = decode_rtt(median_low(codes)) if len(codes) >= LEAST_POINTS else None
        return math.nan if found is None else found
