"""The text format: byte for byte against a golden file, and as two other parsers read it."""

from __future__ import annotations

import gc
import subprocess
import tracemalloc
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from monlat_ebpf.exposition.scrape import BATCH
from monlat_ebpf.exposition.sections import document
from monlat_ebpf.exposition.self_metrics import SelfMetrics
from monlat_ebpf.model import AgentSnapshot, PairReading, PairSnapshot
from tests.unit import snapshots

GOLDEN = Path(__file__).parent / "golden" / "metrics.txt"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def text_of(snapshot: AgentSnapshot) -> bytes:
    return snapshots.render(snapshots.exposition(), snapshot)


def parsed(text: bytes) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def values_of(samples: Samples, name: str, **labels: str) -> list[float]:
    """Return the values of the samples of that name whose labels include `labels`."""
    return [value for (found, having), value in samples.items() if found == name and labels.items() <= having]


def latencies(pairs: Iterable[PairSnapshot]) -> dict[str, float]:
    samples = parsed(text_of(snapshots.agent(list(pairs))))
    return {dict(labels)["to"]: value for (name, labels), value in samples.items() if name == "latency_between_nodes"}


def test_small_cluster_is_the_golden_file() -> None:
    """Every family, label, help text and number of a small cluster is as in the reviewed file."""
    assert text_of(snapshots.SMALL_CLUSTER).decode() == GOLDEN.read_text(encoding="utf-8")


def test_promtool_reports_nothing() -> None:
    """`promtool check metrics` accepts an agent's whole text and has no advice on names, types and help."""
    text = text_of(snapshots.SMALL_CLUSTER) + SelfMetrics().text()
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


def test_parser_reads_back_what_was_measured() -> None:
    """prometheus_client's parser finds the numbers of a pair under its labels, odd characters and all."""
    samples = parsed(text_of(snapshots.SMALL_CLUSTER))
    node2 = {"from": "node1", "to": "node2", "family": "ipv4"}
    assert values_of(samples, "monlat_rtt_seconds_bucket", le="0.00048828125", **node2) == [2]
    assert values_of(samples, "monlat_rtt_seconds_bucket", le="+Inf", **node2) == [3]
    assert values_of(samples, "monlat_rtt_seconds_count", **node2) == [3]
    assert values_of(samples, "monlat_rtt_seconds_sum", **node2) == [0.001]
    assert values_of(samples, "monlat_probe_results_total", to="node3", family="ipv6", result="lost_network") == [11]
    assert values_of(samples, "monlat_peer_info", to=snapshots.ODD_NAME, to_zone='z"\\') == [1]


def test_send_delay_is_one_histogram_without_labels() -> None:
    """One sample of 20 us and one of 64 us, to whatever peer; a parser that knows labels finds none."""
    samples = parsed(text_of(snapshots.SMALL_CLUSTER))
    name = "monlat_send_delay_seconds"
    assert samples[f"{name}_bucket", frozenset({("le", "1.52587890625e-05")})] == 0
    assert samples[f"{name}_bucket", frozenset({("le", "3.0517578125e-05")})] == 1
    assert samples[f"{name}_bucket", frozenset({("le", "0.0001220703125")})] == 2
    assert values_of(samples, f"{name}_bucket", le="+Inf") == [2]
    assert (samples[f"{name}_sum", frozenset()], samples[f"{name}_count", frozenset()]) == (8.4e-05, 2)


def test_new_peer_has_all_its_series_at_zero() -> None:
    """A peer that nothing was sent to yet has every counter, all seven results and every bucket, at zero."""
    samples = parsed(text_of(snapshots.agent([snapshots.new_pair("node9", "10.0.0.9")])))
    assert values_of(samples, "monlat_probe_results_total", to="node9") == [0] * 7
    assert values_of(samples, "monlat_rtt_seconds_bucket", to="node9") == [0] * 25
    for name in ("sent", "late", "duplicate"):
        series = "monlat_probes_sent_total" if name == "sent" else f"monlat_{name}_replies_total"
        assert values_of(samples, series, to="node9") == [0]


def test_times_that_need_both_agents_are_absent_where_unknown() -> None:
    """No series where the source does not see the peer's requests; else both histograms are there, at 0."""
    blind = snapshots.new_pair("node8", "10.0.0.8")
    seeing = replace(
        snapshots.new_pair("node9", "10.0.0.9"), network_rtt=snapshots.NO_SAMPLES, dwell=snapshots.NO_SAMPLES
    )
    samples = parsed(text_of(snapshots.agent([blind, seeing])))
    for name in ("monlat_network_rtt_seconds", "monlat_dwell_seconds"):
        assert values_of(samples, f"{name}_count") == values_of(samples, f"{name}_count", to="node9") == [0]
        assert values_of(samples, f"{name}_bucket", to="node9") == [0] * 25
    for name in ("monlat_clock_offset_seconds", "monlat_clock_offset_error_seconds", "monlat_queueing_seconds"):
        assert values_of(samples, name) == []


def test_clock_and_queueing_are_of_the_first_family_that_has_them() -> None:
    """One series a peer, and for queueing one a direction: of the preferred family, or else of the other."""
    silent = replace(snapshots.ANSWERING, clock_offset=None, queueing=None)
    first = parsed(text_of(snapshots.agent([snapshots.ANSWERING, snapshots.ANSWERING_OVER_IPV6])))
    other = parsed(text_of(snapshots.agent([silent, snapshots.ANSWERING_OVER_IPV6])))
    for samples, offset, error, back in ((first, -0.0020005, 1e-05, 4.4e-05), (other, 7e-09, 7e-09, 7e-09)):
        assert values_of(samples, "monlat_clock_offset_seconds") == [offset]
        assert values_of(samples, "monlat_clock_offset_error_seconds") == [error]
        assert values_of(samples, "monlat_queueing_seconds", to="node2", direction="return") == [back]
        assert len(values_of(samples, "monlat_queueing_seconds")) == 2


def test_latency_is_of_the_first_family_that_answers() -> None:
    """Of a dual-stack peer the old contract shows one series: the preferred family, or else the other."""
    both = [snapshots.ANSWERING_OVER_IPV6, snapshots.ANSWERING]
    assert latencies(both) == {"node2": 0.5}
    assert latencies(reversed(both)) == {"node2": 0.436}
    assert latencies([replace(both[0], last_rtt_ns=None), both[1]]) == {"node2": 0.436}


def test_latency_is_absent_while_the_peer_does_not_answer() -> None:
    """A peer whose last probes went unanswered has no latency_between_nodes, whatever it had before."""
    assert latencies([snapshots.SILENT_SINCE_A_WHILE, snapshots.NEVER_ANSWERED]) == {}


def test_next_scrape_shows_what_changed_of_a_pair() -> None:
    """A pair whose address, zone or interface changed is shown with the new one alone."""
    exposition = snapshots.exposition()
    before = snapshots.agent([snapshots.new_pair("node2", "10.0.0.2", to_zone="b", device="eth0")])
    after = snapshots.agent([snapshots.new_pair("node2", "10.0.0.7", to_zone="c", device="eth1")])
    snapshots.render(exposition, before)
    samples = parsed(snapshots.render(exposition, after))
    assert [dict(labels) for name, labels in samples if name == "monlat_peer_info"] == [
        {
            "from": "node1",
            "to": "node2",
            "family": "ipv4",
            "address": "10.0.0.7",
            "from_zone": "a",
            "to_zone": "c",
            "kind": "node",
        }
    ]
    (device,) = (dict(labels) for name, labels in samples if name == "monlat_peer_device_info")
    assert device["device"] == "eth1"


def test_next_scrape_shows_the_zone_that_became_known() -> None:
    """This node's own zone comes from discovery, perhaps after the first scrape."""
    exposition = snapshots.exposition()
    agent = snapshots.agent([snapshots.ANSWERING])
    snapshots.render(exposition, replace(agent, zone=""))
    samples = parsed(snapshots.render(exposition, agent))
    assert values_of(samples, "monlat_peer_info", from_zone="a") == [1]
    assert values_of(samples, "monlat_peer_info", from_zone="") == []


def test_peer_info_is_the_same_series_before_and_after_the_first_probe() -> None:
    """The interface becomes known with the first probe. It has a series of its own, which does not exist before."""
    pair = snapshots.new_pair("node2", "10.0.0.2", to_zone="b")
    texts = [text_of(snapshots.agent([each])) for each in (pair, replace(pair, device="eth0"))]
    before, after = (
        {(name, *sorted(labels)) for name, labels in parsed(text) if name.startswith("monlat_peer_")} for text in texts
    )
    assert len(before) == 1
    assert [name for name, *_ in after - before] == ["monlat_peer_device_info"]
    assert before <= after


def test_peer_that_left_is_gone_from_the_next_scrape() -> None:
    """No series and no label set of a peer outlives it by a scrape."""
    exposition = snapshots.exposition()
    snapshots.render(exposition, snapshots.SMALL_CLUSTER)
    text = snapshots.render(exposition, snapshots.agent([snapshots.ANSWERING]))
    assert b"node3" not in text
    assert b"monlat_peers 1\n" in text


def test_labels_of_peers_that_left_are_forgotten() -> None:
    """101 scrapes, each of 31 peers that no other had, leave no more behind than the first."""
    exposition = snapshots.exposition()

    def scrape(turn: int) -> None:
        pairs = [snapshots.new_pair(f"node{turn}-{number}", "10.0.0.9") for number in range(31)]
        snapshots.render(exposition, snapshots.agent(pairs))

    scrape(0)
    tracemalloc.start()
    try:
        for turn in range(1, 102):
            scrape(turn)
        gc.collect()  # the interpreter keeps some thousand freed tuples for later ones; this frees them, too
        left_behind, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left_behind < 50_000  # bytes; 31 peers' labels take some 12,000, 3,131 peers' over a million


def test_agent_without_peers_is_valid_text() -> None:
    """With no peer there are the families' headers and the agent's own series, and the gauges say 0."""
    samples = parsed(text_of(snapshots.agent([])))
    assert values_of(samples, "monlat_peers") == [0]
    assert values_of(samples, "monlat_in_flight_probes") == [0]
    assert values_of(samples, "monlat_timestamp_source_info", source="tracepoint", reason="") == [1]


def test_many_peers_come_in_small_pieces() -> None:
    """The text of 307 peers comes in pieces of at most a batch of pairs, and the pairs are read batch by batch."""
    taken = 0

    def readings() -> Iterator[PairReading]:
        nonlocal taken
        for number in range(307):
            taken += 1
            yield snapshots.reading(snapshots.new_pair(f"node{number:03}", "10.0.0.9"))

    seen, longest, text = [], 0, []
    for piece in snapshots.exposition().render(snapshots.agent([]), readings()):
        seen.append(taken)
        longest = max(longest, len(piece.data))
        text.append(piece)
    one_pair = 4096  # 27 lines of about 100 bytes are the most that a pair adds at once
    assert seen[0] == BATCH
    assert set(seen) == {64, 128, 192, 256, 307}
    assert longest <= BATCH * one_pair
    assert len(values_of(parsed(document(text)), "monlat_peer_info")) == 307


def test_scrapes_at_the_same_time_do_not_disturb_each_other() -> None:
    """Eight threads that render by turns two clusters get each exactly its own text."""
    exposition = snapshots.exposition()
    clusters = [snapshots.SMALL_CLUSTER, snapshots.agent([snapshots.NEVER_ANSWERED])] * 20
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda cluster: snapshots.render(exposition, cluster), clusters))
    assert texts == [text_of(clusters[0]), text_of(clusters[1])] * 20


@given(name=st.text(), zone=st.text())
def test_any_label_value_survives(name: str, zone: str) -> None:
    """Whatever a peers file calls a node or a zone, a parser reads back the same."""
    samples = parsed(text_of(snapshots.agent([snapshots.new_pair(name, "10.0.0.9", to_zone=zone)])))
    assert values_of(samples, "monlat_peer_info", to=name, to_zone=zone) == [1]


def test_lone_surrogate_does_not_break_the_scrape() -> None:
    """A name that UTF-8 cannot hold is shown with a question mark instead."""
    text = text_of(snapshots.agent([snapshots.new_pair("x\ud800y", "10.0.0.9")]))
    assert values_of(parsed(text), "monlat_peer_info", to="x?y") == [1]
