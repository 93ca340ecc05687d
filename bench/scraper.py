"""Scrapes as Prometheus does them, to the last byte, and what the text of an agent says of the agent itself."""

from __future__ import annotations

import gzip
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from typing import Self

from bench.ended import Ended
from monlat_ebpf.testbed.namespace import Namespace

TIMEOUT_SECONDS = 10.0  # Prometheus' default for a scrape
_PATIENCE_SECONDS = 60.0
_TEXT = "text/plain;version=0.0.4"
_OPENMETRICS = "application/openmetrics-text;version=1.0.0"
_PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
_OTHERS = "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


@dataclass(frozen=True)
class Format:
    """A format, and the header Accept of a Prometheus that wants it."""

    name: str
    accept: str


CLASSIC = Format("classic text", _TEXT)
OPENMETRICS = Format("OpenMetrics", f"{_OPENMETRICS},{_OTHERS}")
NATIVE = Format("native", f"{_PROTOBUF},{_OPENMETRICS};q=0.8,{_OTHERS}")
"""The headers of Prometheus 2.42, scrape/scrape.go; NATIVE with --enable-feature=native-histograms."""
FORMATS = (CLASSIC, OPENMETRICS, NATIVE)


@dataclass(frozen=True)
class Answer:
    """`seconds` from the request to the last byte; `body` as it came, compressed or not."""

    seconds: float
    content_type: str
    is_compressed: bool
    body: bytes

    @cached_property
    def content(self) -> bytes:
        """The body uncompressed."""
        return gzip.decompress(self.body) if self.is_compressed else self.body


class Client:
    """A connection to `port` on the loopback of `namespace`, kept from scrape to scrape; for one thread."""

    def __init__(self, namespace: Namespace, port: int, timeout_seconds: float = _PATIENCE_SECONDS) -> None:
        self._namespace = namespace
        self._connection = HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)

    def scrape(self, wanted: Format, *, compressed: bool = True) -> Answer:
        """Fetch /metrics. Raises OSError when nobody answers in time, or with another status than 200."""
        if self._connection.sock is None:
            with self._namespace.entered():
                self._connection.connect()
        headers = {"Accept": wanted.accept, "Accept-Encoding": "gzip" if compressed else "identity"}
        begin = time.perf_counter()
        try:
            self._connection.request("GET", "/metrics", headers=headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, HTTPException) as error:
            self.close()
            raise ConnectionError(f"no scrape: {error!r}") from error
        seconds = time.perf_counter() - begin
        if response.status != 200:
            raise ConnectionError(f"status {response.status}: {body[:200]!r}")
        is_compressed = response.getheader("Content-Encoding") == "gzip"
        return Answer(seconds, response.getheader("Content-Type", "none"), is_compressed, body)

    def close(self) -> None:
        self._connection.close()


class PeriodicScraper(Ended):
    """A thread that scrapes once in `period_seconds`, first after half of that; a context manager.

    `seconds` has how long each scrape took, `failures` why others had no answer. A scrape that takes longer than the
    period delays the next one.
    """

    def __init__(self, namespace: Namespace, port: int, period_seconds: float, wanted: Format = NATIVE) -> None:
        self._client = Client(namespace, port, TIMEOUT_SECONDS)
        self._period_seconds = period_seconds
        self._wanted = wanted
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seconds: list[float] = []
        self.failures: list[str] = []

    def _begin(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic() + self._period_seconds / 2
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            try:
                self.seconds.append(self._client.scrape(self._wanted).seconds)
            except OSError as error:
                self.failures.append(str(error))
            due += self._period_seconds

    def _end(self) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()


def scrape_at_once(namespace: Namespace, port: int, count: int, wanted: Format = NATIVE) -> list[Answer | OSError]:
    """Let `count` clients scrape at the same time; return their answers, or why there was none."""
    answers: list[Answer | OSError] = []

    def scrape() -> None:
        client = Client(namespace, port)
        try:
            answers.append(client.scrape(wanted))
        except OSError as error:
            answers.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=scrape) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@dataclass(frozen=True)
class Counters:
    """What an agent has counted: probes by result, skipped ones, rejected feedback, network RTTs, and schedule lags.

    `lags` has the upper edge of each bucket in seconds with the number of lags up to it.
    """

    sent: int
    results: Mapping[str, int]
    skipped: int
    rejected: int
    network_rtts: int
    lags: Sequence[tuple[float, int]]

    @classmethod
    def of(cls, text: bytes) -> Self:
        """Read the text format. Raises ValueError when it has no schedule lag, as no agent's lacks it."""
        results: dict[str, int] = {}
        for result, count in re.findall(
            rb'^monlat_probe_results_total\{[^}]*result="(\w+)"[^}]*\} (\S+)', text, re.MULTILINE
        ):
            results[result.decode()] = results.get(result.decode(), 0) + int(float(count))
        found = re.findall(rb'^monlat_schedule_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text, re.MULTILINE)
        if not found:
            raise ValueError("the agent's text has no monlat_schedule_lag_seconds")
        return cls(
            sent=_sum_of(b"monlat_probes_sent_total", text),
            results=results,
            skipped=_sum_of(b"monlat_skipped_probes_total", text),
            rejected=_sum_of(b"monlat_rejected_feedback_total", text),
            network_rtts=_sum_of(b"monlat_network_rtt_seconds_count", text),
            lags=[(float(edge), int(float(count))) for edge, count in found],
        )

    def since(self, earlier: Self) -> Counters:
        """Return what was counted after `earlier`."""
        return Counters(
            self.sent - earlier.sent,
            {result: count - earlier.results.get(result, 0) for result, count in self.results.items()},
            self.skipped - earlier.skipped,
            self.rejected - earlier.rejected,
            self.network_rtts - earlier.network_rtts,
            [(edge, count - before) for (edge, count), (_, before) in zip(self.lags, earlier.lags, strict=True)],
        )

    @property
    def lost(self) -> int:
        """Probes that ended otherwise than with a reply: nothing but the agent and its host can lose one here."""
        return sum(count for result, count in self.results.items() if result != "reply")

    def lag(self, q: float) -> float:
        """Return the upper edge of the bucket with the q-quantile of the lags, in seconds: it is no more than that.

        Infinite when it is in the last bucket; 0 when there was no lag at all.
        """
        total = self.lags[-1][1]
        return next((edge for edge, count in self.lags if total and count >= q * total), 0.0)


def _sum_of(name: bytes, text: bytes) -> int:
    found = re.findall(rb"^" + name + rb"(?:\{[^}]*\})? (\S+)", text, re.MULTILINE)
    return sum(int(float(value)) for value in found)
