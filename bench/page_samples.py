"""A cluster and an agent to look at: what bench/page_pictures and tests/unit/test_page_access.py open."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from monlat_ebpf.collector.fetch import AskError, Failure
from monlat_ebpf.diagnosis.findings import Element, Evidence, Finding, Kind, Part, Symptom
from monlat_ebpf.diagnosis.text import evidence_text, title_of
from monlat_ebpf.exposition.http import MetricsServer
from monlat_ebpf.exposition.routes import agent_routes
from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.model import AgentSnapshot, Family, RecentProbe, Result
from tests.unit import snapshots
from tests.unit.collector_page import new_store, routes_of
from tests.unit.collector_rows import row
from tests.unit.diagnosis_documents import diagnosis, document

ZONES = {f"{zone}{number:02}": f"eu-north-1{zone}" for zone in "abc" for number in range(1, 13)}
SLOW, SILENT, LOST = "b07", "c11", ("a03", "c05")
"""A node whose packets are late, a node whose agent does not answer, and a pair of nodes that is cut."""

SLOW_NODE = Finding(
    Element(Kind.NODE, (SLOW,)),
    frozenset({Part.OUT}),
    0.998,
    (Evidence(Symptom.SLOW, 34, 34, 1650, 1700, usual_seconds=0.00065, now_seconds=0.0056),),
)
CUT_PAIR = Finding(Element(Kind.PAIR, LOST), frozenset({Part.FORWARD}), 0.971, (Evidence(Symptom.LOSS, 1, 1, 50, 50),))


@dataclass(frozen=True, slots=True)
class Sample:
    """A page to open: a name, the part of the address behind "#", and what must be shown."""

    name: str
    address: str
    shown: str
    """A JavaScript expression that is true as soon as everything is there."""


COLLECTOR = (
    Sample("zones", "", "document.querySelector('#summary').innerText.includes('agents answer')"),
    Sample("nodes", "#view=nodes", "document.querySelector('#summary').innerText.includes('agents answer')"),
    Sample(
        "pair",
        f"#view=nodes&from={LOST[1]}&to={LOST[0]}",
        "document.querySelector('#directions').innerText.includes('by the driver')",
    ),
)
CHOSEN = Sample("chosen", f"#view=nodes&diagnosis=node/{SLOW}", "!document.querySelector('#chosen').hidden")
AGENT = (
    Sample("agent", "", "Boolean(document.querySelector('#peers tbody tr'))"),
    Sample("agent-peer", "#peer=b02", "document.querySelector('#directions').innerText.includes('Last probes')"),
)


def rtt(source: str, to: str, is_broken: bool) -> float | None:
    chance = random.Random(f"{source} {to}")
    if is_broken and (source, to) == LOST:
        return None
    usual = 0.00022 if source[0] == to[0] else 0.00065
    late = 0.005 if is_broken and SLOW in (source, to) else 0.0
    return usual * chance.lognormvariate(0, 0.15) + late


def broken() -> Mapping[str, Any]:
    """What the collector would answer about the two faults."""
    found = []
    for finding in (SLOW_NODE, CUT_PAIR):
        texts = [{"symptom": each.symptom, "text": evidence_text(each, finding.element)} for each in finding.evidence]
        element = finding.element
        changes = {"title": title_of(finding), "confidence_ratio": finding.confidence, "evidence": texts}
        found.append(diagnosis(element.kind.value, *element.names, **changes))
    return document(*found, agents=len(ZONES), agents_answering=len(ZONES) - 1)


@contextmanager
def collector(*, is_broken: bool) -> Iterator[str]:
    """Yield the address of a collector's page."""
    store = new_store(ZONES)
    for source in ZONES:
        if is_broken and source == SILENT:
            store.failed(source, AskError(Failure.TIMEOUT, "does not answer in time"))
        else:
            store.answered(source, row(source, {to: rtt(source, to, is_broken) for to in ZONES if to != source}))
    fine = document(agents=len(ZONES), agents_answering=len(ZONES))
    with MetricsServer([("127.0.0.1", 0)], routes_of(store, broken if is_broken else lambda: fine)) as server:
        yield f"http://127.0.0.1:{server.port}/"


@contextmanager
def agent() -> Iterator[str]:
    """Yield the address of the page of a01's agent."""
    probes = [
        RecentProbe(number, Result.REPLY, 1_700_000_000_000_000_000 + number * 10**9, 80_000, *times)
        for number, times in enumerate([(436_000, 372_000, 20_500, 43_500), (520_000, 380_000, 90_000, 50_000)])
    ]
    pairs = [
        replace(
            snapshots.ANSWERING,
            to=to,
            to_zone=zone,
            address=ip_address(0x0A00_0000 + number),
            last_rtt_ns=None if to == SILENT else round(1e9 * (rtt("a01", to, is_broken=True) or 0)),
        )
        for number, (to, zone) in enumerate(ZONES.items())
        if number
    ]

    def snapshot(peer: str | None) -> AgentSnapshot:
        return replace(snapshots.agent([pair for pair in pairs if peer in (None, pair.to)]), node="a01")

    routes = agent_routes(
        snapshot,
        lambda: (snapshot(None), ()),
        lambda: None,
        lambda: None,
        SelfMetrics(),
        lambda _: {Family.IPV4: probes},
    )
    with MetricsServer([("127.0.0.1", 0)], routes) as server:
        yield f"http://127.0.0.1:{server.port}/"
