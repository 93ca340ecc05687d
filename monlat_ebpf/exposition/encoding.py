"""What a format of metrics must be able to write: one Protocol, and a class for each format in a file of its own.

A scrape writes the same series of thousands of pairs, of which only the peer's name and the numbers differ. So a format
makes a template of each series once, and fills it for all pairs of a batch in one call. The label `to` is always the
last of a template: what comes after a name is then the same for every pair, which compresses best.

A format for which nothing like this exists yet, such as the text of OpenMetrics 2.0, is one more class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from monlat_ebpf.abi.histogram import Filled
from monlat_ebpf.exposition.families import MetricFamily

Labels = Sequence[tuple[str, str]]
Template = Any
"""A series without the peer's name and the number. Only the encoder that made it knows what it is."""


Row = tuple[Template, bytes, float, int, bytes]
"""A sample of a pair: template; what the encoder made of the peer's name; number; since when a counter counts, in
seconds since 1970, NEVER for a gauge; what the encoder made of further labels, b"" for none."""

NEVER: Final = -1
"""A gauge does not count, so there is no time since when."""

HistogramRow = tuple[Template, bytes, Filled, int]
"""A histogram of a pair: template, name, histogram, since when it counts."""


class Encoder(Protocol):
    """Writes one scrape."""

    def seconds(self, nanoseconds: float) -> float:
        """Return a time of a pair in seconds, within half a nanosecond."""

    def milliseconds(self, nanoseconds: float) -> float:
        """Return a time of a pair in milliseconds, within half a nanosecond."""

    def name(self, peer: str) -> bytes:
        """Return the label `to` as rows need it. It may be kept between scrapes."""

    def after(self, labels: Labels) -> bytes:
        """Return labels that follow `to`, as rows need them. They may be kept between scrapes."""

    def template(self, family: MetricFamily, labels: Labels) -> Template:
        """Return the template of the series with these labels, and `to` after them."""

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return counters or gauges of pairs."""

    def histograms(self, rows: Iterable[HistogramRow]) -> bytes:
        """Return histograms of pairs."""

    def sample(self, family: MetricFamily, labels: Labels, value: float, created_seconds: int) -> bytes:
        """Return a counter or gauge that is of no pair."""

    def histogram(self, family: MetricFamily, labels: Labels, histogram: Filled, created_seconds: int) -> bytes:
        """Return a histogram that is of no pair."""

    def header(self, family: MetricFamily, length: int) -> bytes:
        """Return what stands before the samples of a family, which are `length` bytes together."""
