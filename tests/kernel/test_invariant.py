"""`sent == sum(results) + in flight`, at every scrape of a run in which everything goes wrong that can."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path

from monlat_ebpf.exposition.api import PeersDocument
from testkit.actions import Answer, CorruptByte, Double, Drop, FlipNonce, IcmpError, Reorder
from testkit.pair import Pair
from testkit.plan import Plan
from testkit.reflector import Reflector
from tests.kernel.agents import RunningAgent, Scrape, entry

SCRAPES = 127
RUN_SECONDS = 12.0
EDIT_SECONDS = 1.5  # discovery takes a change with the second look that sees it, half a second apart
MILLISECOND = 1_000_000
FAULTS = (
    Answer(),
    Drop(),
    Double(),
    Answer(20 * MILLISECOND),
    IcmpError(3, 1, source="10.99.0.99"),
    Answer(450 * MILLISECOND),  # past the deadline
    Reorder(),
    FlipNonce(),
    Double(450 * MILLISECOND),
    CorruptByte(),
    Answer(),
)
ALWAYS = (
    *(entry(f"faulty{number}", f"10.99.1.{number}", f"fd99::1:{number}") for number in range(5)),
    entry("unroutable", "192.0.2.1"),  # send_error
    entry("nobody", "10.77.0.99"),  # lost_host: nobody answers for the address, so no driver gets the probe
    entry("node2", "10.77.0.2", "fd77::2"),
)
SOMETIMES = tuple(entry(f"guest{number}", f"10.99.2.{number}") for number in range(3))
MOVING = tuple(entry("mover", f"10.99.3.{number}") for number in range(2))
RESULTS = {"reply", "lost_network", "lost_host", "unreachable", "send_error"}
REPORTED_BY_PEERS = {"lost_forward", "lost_return"}  # no agent runs at any of these

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def test_every_probe_is_accounted_for_at_every_scrape(tmp_path: Path) -> None:
    """127 scrapes over 12 s of faults, peers that join, leave and move: all add up, and no counter ever falls."""
    with (
        Pair() as pair,
        Reflector(pair["node1"].namespace, Plan.cycle(FAULTS), spin=False),
        RunningAgent(pair["node1"].namespace, tmp_path, ALWAYS) as agent,
    ):
        scrapes = 0
        before: Series = {}
        seen: set[str] = set()
        names: set[frozenset[str]] = set()
        edits = _edits(agent)
        for scrape in _scrapes(agent):
            next(edits)
            _check_sums(scrape)
            _check_counters(before, scrape.series)
            _check_answer(agent.answer())
            before = scrape.series
            seen |= scrape.results().keys()
            names.add(frozenset(scrape.peers()))
            scrapes += 1
    assert scrapes == SCRAPES
    assert seen == RESULTS
    assert len(names) > 3
    assert {labels["reason"] for labels, count in scrape.matching("monlat_unmatched_packets_total") if count} >= {
        "nonce_mismatch",
        "bad_checksum",
    }
    assert scrape.total("monlat_late_replies_total") > 0
    assert scrape.total("monlat_duplicate_replies_total") > 0
    assert "Traceback" not in agent.log()


def _scrapes(agent: RunningAgent) -> Iterator[Scrape]:
    """Scrape again and again, evenly over the run."""
    start = time.monotonic()
    for number in range(SCRAPES):
        time.sleep(max(start + RUN_SECONDS * number / (SCRAPES - 1) - time.monotonic(), 0))
        yield agent.scrape()


def _edits(agent: RunningAgent) -> Iterator[None]:
    """Rewrite the peers file at each turn that comes EDIT_SECONDS or more after the last edit."""
    guests = cycle([SOMETIMES[:1], SOMETIMES, SOMETIMES[1:], ()])
    mover = cycle(MOVING)
    last = 0.0
    while True:
        if time.monotonic() - last >= EDIT_SECONDS:
            last = time.monotonic()
            agent.write_peers([*ALWAYS, *next(guests), next(mover)])
        yield


def _check_sums(scrape: Scrape) -> None:
    missing = 0.0
    for labels, sent in scrape.matching("monlat_probes_sent_total"):
        which = {"to": labels["to"], "family": labels["family"]}
        results = scrape.matching("monlat_probe_results_total", **which)
        assert {has["result"] for has, _ in results} == RESULTS | REPORTED_BY_PEERS
        in_flight = sent - sum(value for _, value in results)
        assert 0 <= in_flight <= 16, (which, scrape.results(**which))
        missing += in_flight
        # every reply with an RTT is in the histogram, which the kernel fills the moment it comes
        replies = scrape.results(**which).get("reply", 0)
        assert scrape.one("monlat_rtt_seconds_count", **which) >= replies
        assert scrape.one("monlat_rtt_seconds_bucket", le="+Inf", **which) == scrape.one(
            "monlat_rtt_seconds_count", **which
        )
    assert scrape.one("monlat_in_flight_probes") == missing
    assert scrape.one("monlat_peers") == len(scrape.peers())


def _check_counters(before: Series, after: Series) -> None:
    """Of series that live on, none has fallen; between two scrapes nobody leaves and is back again."""
    for (name, labels), value in before.items():
        is_counter = name.startswith("monlat_") and name.endswith(("_total", "_bucket", "_count", "_sum"))
        if is_counter and (name, labels) in after:
            assert after[name, labels] >= value, (name, labels)


def _check_answer(answer: PeersDocument) -> None:
    for pair in answer["pairs"]:
        assert pair["sent"] == sum(pair["results"].values()) + pair["in_flight"], pair
        assert pair["replies"] == pair["results"]["reply"]
        assert pair["lost"] == sum(pair["results"].values()) - pair["replies"]
