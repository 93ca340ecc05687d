"""Which format and encoding a scraper accepts: decided as Prometheus' own libraries do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from monlat_ebpf.exposition.sections import Piece
from monlat_ebpf.model import AgentSnapshot, PairReading


@dataclass(frozen=True, slots=True)
class Format:
    """A format of metrics: its Content-Type, which Accept headers are compared with, and how to render it."""

    content_type: str
    render: Callable[[AgentSnapshot, Iterable[PairReading]], Iterator[Piece]]


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One entry of an Accept header, or a Content-Type (RFC 9110, sections 8.3.1 and 12.5.1)."""

    type: str
    subtype: str
    parameters: Mapping[str, str]
    weight: float

    def covers(self, other: MediaRange) -> bool:
        """Tell whether `other` is in this range; parameters that `other` lacks are ignored."""
        return (
            self.type in ("*", other.type)
            and self.subtype in ("*", other.subtype)
            and all(other.parameters.get(name, value) == value for name, value in self.parameters.items())
        )


def parse_media_range(text: str) -> MediaRange:
    """Parse `text`. A weight that is not a number counts as 0, so that the range is not chosen."""
    name, *rest = (part.strip().lower() for part in text.split(";"))
    kind, _, subtype = name.partition("/")
    parameters = {key.strip(): value.strip(' "') for key, _, value in (part.partition("=") for part in rest)}
    try:
        weight = float(parameters.pop("q", "1"))
    except ValueError:
        weight = 0.0
    return MediaRange(kind, subtype, parameters, weight)


def choose(accept: str, formats: Sequence[Format]) -> Format:
    """Return the format that `accept` prefers, or the first of `formats` when it names none of them.

    The default format serves a scraper better than an error; Prometheus' own libraries do the same.
    """
    ranges = sorted(map(parse_media_range, accept.split(",")), key=lambda media_range: -media_range.weight)
    for media_range in ranges:
        for candidate in formats:
            if media_range.weight > 0 and media_range.covers(parse_media_range(candidate.content_type)):
                return candidate
    return formats[0]


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether the header Accept-Encoding allows gzip (RFC 9110, section 12.5.3)."""
    weights = {entry.type: entry.weight for entry in map(parse_media_range, accept_encoding.split(","))}
    return weights.get("gzip", weights.get("*", 0.0)) > 0
