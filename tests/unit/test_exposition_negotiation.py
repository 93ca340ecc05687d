"""Which format and encoding the Accept headers choose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from monlat_ebpf.exposition.negotiation import Format, accepts_gzip, choose
from monlat_ebpf.exposition.sections import Piece
from monlat_ebpf.model import AgentSnapshot, PairReading


def nothing(agent: AgentSnapshot, pairs: Iterable[PairReading]) -> Iterator[Piece]:
    return iter(())


TEXT = Format("text/plain; version=0.0.4; charset=utf-8", nothing)
PROTOBUF = Format(
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", nothing
)
OPENMETRICS = Format("application/openmetrics-text; version=1.0.0; charset=utf-8", nothing)

PROMETHEUS_WITH_NATIVE_HISTOGRAMS = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", TEXT),
        (PROMETHEUS, TEXT),
        (PROMETHEUS_WITH_NATIVE_HISTOGRAMS, PROTOBUF),
        ("text/plain;version=0.0.4, application/vnd.google.protobuf;q=0.9", TEXT),
        ("text/plain;q=0.2, application/vnd.google.protobuf;q=0.9", PROTOBUF),
        ("application/vnd.google.protobuf;encoding=text", TEXT),
        ("application/vnd.google.protobuf;encoding=delimited;escaping=allow-utf-8", PROTOBUF),
        ("application/vnd.google.protobuf;q=0", TEXT),
        ("application/*", PROTOBUF),
        ('APPLICATION/VND.google.protobuf; Encoding="delimited"', PROTOBUF),
        ("application/vnd.google.protobuf;q=high", TEXT),
        (";;,/,=;q=1", TEXT),
        ("image/png", TEXT),
    ],
)
def test_accept_header_chooses_the_format(accept: str, chosen: Format) -> None:
    """The range of the greatest weight that covers a format wins; a header that covers none gets text."""
    assert choose(accept, [TEXT, PROTOBUF]) is chosen


PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_WITH_NATIVE_HISTOGRAMS = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
    "escaping=allow-utf-8;q=0.7," + PROMETHEUS_3
)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (PROMETHEUS, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        (PROMETHEUS_WITH_NATIVE_HISTOGRAMS, PROTOBUF),
        (PROMETHEUS_3_WITH_NATIVE_HISTOGRAMS, PROTOBUF),
        ("text/plain;version=1.0.0;q=0.7,text/plain;version=0.0.4;q=0.3", TEXT),
        ("application/openmetrics-text;version=2.0.0,application/openmetrics-text;version=1.0.0;q=0.5", OPENMETRICS),
        ("*/*", TEXT),
        ("", TEXT),
    ],
)
def test_each_prometheus_gets_the_format_that_it_can_store(accept: str, chosen: Format) -> None:
    """The headers of 2.42 and 3, with and without native histograms; versions that are not served are passed over."""
    assert choose(accept, [TEXT, OPENMETRICS, PROTOBUF]) is chosen


def test_format_that_is_not_served_gets_text() -> None:
    """A scraper that prefers a format which is not served gets the default, not an error."""
    assert choose(PROMETHEUS_WITH_NATIVE_HISTOGRAMS, [TEXT]) is TEXT


@pytest.mark.parametrize(
    ("accept_encoding", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("x-gzipped", False),
    ],
)
def test_gzip_is_accepted_by_name_or_asterisk(accept_encoding: str, accepted: bool) -> None:
    """gzip is accepted when its own weight, or else that of *, is over 0."""
    assert accepts_gzip(accept_encoding) is accepted
