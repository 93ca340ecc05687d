"""The series that Prometheus records of a cluster of agents, in promtool's notation.

The lines are what the exposition renders of a snapshot; the counts in the snapshots are arithmetic: one probe a second
to each address of each peer. A recording is a sequence of phases in which nothing changes, so every series is a
straight line in each of them.

promtool takes seconds for the buckets of a day. Only a comparison with yesterday needs them, so recordings of an hour
leave them out, and those of a day have a `night` of which little is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest

from monlat_ebpf.abi.histogram import bucket_of
from monlat_ebpf.abi.layout import BUCKETS
from monlat_ebpf.discovery.metrics import KubernetesMetrics, PeerSetMetrics
from monlat_ebpf.model import AgentSnapshot, Family, Histogram, PairSnapshot, Result
from tests.cluster.scraping import Labels, target_labels
from tests.unit import snapshots

MILLISECOND: Final = 1_000_000
EXTERNAL: Final = {"cluster": "east"}
"""A label that every series has where several clusters share one Prometheus, Thanos or Mimir."""


@dataclass(frozen=True, slots=True)
class Path:
    """What the probes of a pair meet: the share that is lost, how, and the RTT of the others."""

    lost: float = 0.0
    result: Result = Result.LOST_NETWORK
    rtt_ns: int = MILLISECOND // 5


HEALTHY: Final = Path()
DEAD: Final = Path(lost=1.0, result=Result.UNREACHABLE)

Between = Callable[[str, str], Path]


@dataclass(slots=True)
class _Counts:
    """The counters of a pair in one family."""

    results: dict[Result, int] = field(default_factory=dict)
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, path: Path, probes: int) -> None:
        lost = round(path.lost * probes)
        self.results[path.result] = self.results.get(path.result, 0) + lost
        self.results[Result.REPLY] = self.results.get(Result.REPLY, 0) + probes - lost
        bucket = bucket_of(path.rtt_ns)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + probes - lost


class Recording:
    """Records phase after phase. `way` is how Prometheus finds the agents, `rules` the text of the rule file."""

    def __init__(self, way: str, rules: str, *, buckets: bool = False) -> None:
        self.scrape_seconds = 120 if buckets else 60
        self.scrapes = 0
        self.generation: dict[str, int] = {}
        """How often the pod of each node was replaced."""
        self._way = way
        self._wanted = set(re.findall(r"\b(?:monlat_[a-z_]+|latency_between_nodes)", rules))
        if not buckets:
            self._wanted.remove("monlat_rtt_seconds_bucket")
        self._counts: dict[tuple[str, str, Family], _Counts] = {}
        self._lines: dict[str, list[tuple[int, int, str]]] = {}

    def phase(
        self,
        minutes: float,
        *,
        peers: Collection[str],
        between: Between = lambda _from, _to: HEALTHY,
        silent: Collection[str] = (),
        discovery_up: bool = True,
        over_limit: int = 0,
    ) -> None:
        """Record `minutes`. `peers` are listed; of these, `silent` agents do not answer Prometheus.

        An agent that does not answer is dead: it begins at zero when it is back.
        """
        scrapes = round(minutes * 60 / self.scrape_seconds)
        alive = [name for name in peers if name not in silent]
        for name in alive:
            first = self._expose(name, peers, between, 1, discovery_up, over_limit)
            last = self._expose(name, peers, between, scrapes - 1, discovery_up, over_limit)
            for series, value in first.items():
                step = (last[series] - value) / max(scrapes - 1, 1)
                line = f"{value!r}{step:+}" if step else f"{value!r}"
                self._append(name, series, f"{line}x{scrapes - 1}", scrapes)
        for name in peers:
            self._append(name, "up", f"{int(name in alive)}x{scrapes - 1}", scrapes)
        self._counts = {key: counts for key, counts in self._counts.items() if key[0] in alive and key[1] in peers}
        self.scrapes += scrapes

    def night(self, minutes: float, peers: Collection[str]) -> None:
        """Record `minutes` without the measurements: only that the agents work. No rule looks back at these."""
        wanted, self._wanted = self._wanted, {"monlat_peers", "monlat_discovery_up", "monlat_timestamp_source_info"}
        self.phase(minutes, peers=peers)
        self._wanted = wanted

    def _expose(
        self,
        name: str,
        peers: Collection[str],
        between: Between,
        scrapes: int,
        discovery_up: bool,
        over_limit: int,
    ) -> dict[str, float]:
        """Count the probes of `scrapes` intervals and return what the agent shows then."""
        pairs = []
        for to in sorted(peers):
            for family in Family:
                if to != name:
                    counts = self._counts.setdefault((name, to, family), _Counts())
                    path = between(name, to)
                    counts.add(path, scrapes * self.scrape_seconds)
                    pairs.append(_pair(to, family, counts, None if path.lost == 1 else path.rtt_ns))
        registry = CollectorRegistry()
        KubernetesMetrics(registry, ["timeout"]).up.set(discovery_up)
        PeerSetMetrics(registry).over_limit.set(over_limit)
        snapshot = AgentSnapshot(name, "a", "tracepoint", "", 1.0, 1.0, pairs)
        text = snapshots.render(snapshots.exposition(), snapshot) + generate_latest(registry)
        return dict(self._samples(text.decode()))

    def _samples(self, text: str) -> Iterator[tuple[str, float]]:
        for line in text.splitlines():
            series, _, value = line.rpartition(" ")
            if not line.startswith("#") and series.partition("{")[0] in self._wanted:
                yield series, float(value)

    def _append(self, node: str, series: str, values: str, scrapes: int) -> None:
        labels = target_labels(self._way, node, self.generation.get(node, 0)) | EXTERNAL
        whole = _with_labels(series, labels)
        self._lines.setdefault(whole, []).append((self.scrapes, scrapes, values))

    def input_series(self) -> list[dict[str, str]]:
        """Return the series for `input_series`. A series that ends has a stale marker, as Prometheus writes it."""
        return [{"series": series, "values": self._notation(parts)} for series, parts in self._lines.items()]

    def _notation(self, parts: list[tuple[int, int, str]]) -> str:
        notation: list[str] = []
        now = 0
        for start, scrapes, values in parts:
            notation += self._pause(start - now, begun=bool(notation))
            notation.append(values)
            now = start + scrapes
        notation += self._pause(self.scrapes - now, begun=True)
        return " ".join(notation)

    @staticmethod
    def _pause(scrapes: int, *, begun: bool) -> list[str]:
        if scrapes and begun:
            return ["stale", *([f"_x{scrapes - 1}"] if scrapes > 1 else [])]
        return [f"_x{scrapes}"] if scrapes else []


def _pair(to: str, family: Family, counts: _Counts, last_rtt_ns: int | None) -> PairSnapshot:
    number = to.lstrip("n")
    return PairSnapshot(
        to=to,
        family=family,
        address=ip_address(f"192.0.2.{number}" if family is Family.IPV4 else f"2001:db8::{number}"),
        to_zone="a",
        device="eth0",
        sent=sum(counts.results.values()),
        results=counts.results,
        in_flight=0,
        late=0,
        duplicates=0,
        last_rtt_ns=last_rtt_ns,
        min_rtt_ns=None,
        max_rtt_ns=None,
        rtt=Histogram(tuple(counts.buckets.get(bucket, 0) for bucket in range(BUCKETS)), 0),
    )


def _with_labels(series: str, labels: Labels) -> str:
    name, _, own = series.partition("{")
    added = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{own.rstrip('}')},{added}}}" if own else f"{name}{{{added}}}"


def as_test(recording: Recording, expected: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the promtool test that exactly the alerts of `expected` fire, at whatever time of the recording."""
    minutes = recording.scrapes * recording.scrape_seconds // 60
    alerts = f'count_over_time(ALERTS{{alertstate="firing"}}[{minutes}m])'
    return {
        "interval": f"{recording.scrape_seconds}s",
        "input_series": recording.input_series(),
        "promql_expr_test": [
            {
                "expr": f"group by (alertname, cluster, network, node, from, to, family, instance) ({alerts})",
                "eval_time": f"{minutes}m",
                "exp_samples": [{"labels": _text(labels), "value": 1} for labels in expected],
            }
        ],
    }


def _text(labels: Labels) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
