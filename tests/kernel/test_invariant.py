"""`sent == sum(results) + in flight` at every scrape, while all faults occur and peers come and go."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import yaml

from monlat_ebpf.exposition.api import PeersDocument
from testkit.actions import Answer, CorruptByte, Double, Drop, FlipNonce, IcmpError, Reorder
from testkit.pair import Pair
from testkit.plan import Plan
from testkit.reflector import Reflector
from tests.kernel.agents import RunningAgent, Scrape, entry

SCRAPES = 31  # at least
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
    entry("nobody", "10.77.0.99"),  # unreachable: nobody answers ARP for the address
    entry("node2", "10.77.0.2", "fd77::2"),
)
GUEST = tuple(entry(f"guest{number}", f"10.99.2.{number}") for number in range(3))
GUESTS = (GUEST[:1], GUEST, GUEST[1:], ())  # who is listed besides, in turn
MOVER = tuple(entry("mover", f"10.99.3.{number}") for number in range(2))
RESULTS = {"reply", "lost_network", "lost_host", "unreachable", "send_error"}
REPORTED_BY_PEERS = {"lost_forward", "lost_return"}  # no agent runs at any of these
UNMATCHED = {"nonce_mismatch", "bad_checksum"}  # at least

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def test_every_probe_is_accounted_for_at_every_scrape(tmp_path: Path) -> None:
    """At 31 scrapes under all faults, while peers join, leave and move, all counts add up, and no counter ever falls.

    It goes on until each result, each list of peers, a late reply and a duplicate were seen. pytest's time-out ends it.
    """
    with (
        Pair() as pair,
        Reflector(pair["node1"].namespace, Plan.cycle(FAULTS), spin=False),
        RunningAgent(pair["node1"].namespace, tmp_path, ALWAYS) as agent,
    ):
        scrapes = 0
        before: Series = {}
        results: set[str] = set()
        edits = _Edits(agent)

        def is_complete(scrape: Scrape) -> bool:
            nonlocal scrapes, before
            _check_sums(scrape)
            _check_counters(before, scrape.series)
            _check_answer(agent.answer())
            scrapes, before = scrapes + 1, scrape.series
            results.update(scrape.results())
            edits.next_one(scrape)
            return (
                scrapes >= SCRAPES
                and results == RESULTS
                and edits.made > len(GUESTS)
                and {has["reason"] for has, n in scrape.matching("monlat_unmatched_packets_total") if n} >= UNMATCHED
                and scrape.total("monlat_late_replies_total") > 0
                and scrape.total("monlat_duplicate_replies_total") > 0
            )

        agent.wait_for_scrape(is_complete)
    assert results == RESULTS
    assert "Traceback" not in agent.log()


class _Edits:
    """Rewrites the peers file as soon as the agent follows the last edit."""

    def __init__(self, agent: RunningAgent) -> None:
        self.made = 0
        self._agent = agent
        self._guests = cycle(GUESTS)
        self._mover = cycle(MOVER)
        self._listed: set[str] | None = None

    def next_one(self, scrape: Scrape) -> None:
        """Edit the file if `scrape` has the peers of the last edit."""
        if self._listed is None or scrape.peers() == self._listed:
            lines = [*ALWAYS, *next(self._guests), next(self._mover)]
            self._agent.write_peers(lines)
            self._listed = {each["name"] for each in yaml.safe_load("".join(lines))}
            self.made += 1


def _check_sums(scrape: Scrape) -> None:
    missing = 0.0
    for labels, sent in scrape.matching("monlat_probes_sent_total"):
        which = {"to": labels["to"], "family": labels["family"]}
        results = scrape.matching("monlat_probe_results_total", **which)
        assert {has["result"] for has, _ in results} == RESULTS | REPORTED_BY_PEERS
        in_flight = sent - sum(value for _, value in results)
        assert 0 <= in_flight <= 16, (which, scrape.results(**which))
        missing += in_flight
        # The kernel adds a reply to the histogram when it arrives, before the agent counts it.
        replies = scrape.results(**which).get("reply", 0)
        assert scrape.one("monlat_rtt_seconds_count", **which) >= replies
        assert scrape.one("monlat_rtt_seconds_bucket", le="+Inf", **which) == scrape.one(
            "monlat_rtt_seconds_count", **which
        )
    assert scrape.one("monlat_in_flight_probes") == missing
    assert scrape.one("monlat_peers") == len(scrape.peers())


def _check_counters(before: Series, after: Series) -> None:
    """No counter has fallen. Nobody can leave and return between two scrapes: the second edit waits for the first."""
    for (name, labels), value in before.items():
        is_counter = name.startswith("monlat_") and name.endswith(("_total", "_bucket", "_count", "_sum"))
        if is_counter and (name, labels) in after:
            assert after[name, labels] >= value, (name, labels)


def _check_answer(answer: PeersDocument) -> None:
    for pair in answer["pairs"]:
        assert pair["sent"] == sum(pair["results"].values()) + pair["in_flight"], pair
        assert pair["replies"] == pair["results"]["reply"]
        assert pair["lost"] == sum(pair["results"].values()) - pair["replies"]
