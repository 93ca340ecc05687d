"""How bench/cost and bench/scale read what an agent and the kernel say, and what bench/cost claims of it."""

from __future__ import annotations

import gzip
import math
import os
import threading
import time
from dataclasses import replace

import pytest

from bench.many_peers import echo_requests
from bench.others_traffic import Comparison, Rates
from bench.process_usage import Moment, processor_ns, wake_ups_between, wake_ups_by_thread
from bench.report import Claims
from bench.scrape_formats import FormatCost, judge_formats
from bench.scraper import CLASSIC, NATIVE, OPENMETRICS, Answer, Counters, Format

TEXT = b"""\
# TYPE monlat_probes_sent_total counter
monlat_probes_sent_total{from="a",to="b",family="ipv4"} 40
monlat_probes_sent_total{from="a",to="c",family="ipv4"} 41
monlat_probe_results_total{from="a",to="b",family="ipv4",result="reply"} 38
monlat_probe_results_total{from="a",to="b",family="ipv4",result="lost_host"} 2
monlat_probe_results_total{from="a",to="c",family="ipv4",result="reply"} 41
monlat_network_rtt_seconds_count{from="a",to="b",family="ipv4"} 30
monlat_network_rtt_seconds_count{from="a",to="c",family="ipv4"} 7
monlat_rejected_feedback_total{reason="nonce_mismatch"} 3
monlat_rejected_feedback_total{reason="clock_apart"} 0
monlat_skipped_probes_total 5
monlat_schedule_lag_seconds_bucket{le="0.001"} 10.0
monlat_schedule_lag_seconds_bucket{le="0.002"} 12.0
monlat_schedule_lag_seconds_bucket{le="+Inf"} 12.0
"""


def test_echo_requests_of_both_families_are_added() -> None:
    """The column is found by its name, because kernels add columns."""
    snmp = "Ip: InReceives\nIp: 7\nIcmp: InMsgs InErrors InEchos OutMsgs\nIcmp: 99 1 31 4\nUdp: InDatagrams\nUdp: 5\n"
    snmp6 = "Icmp6InMsgs                     \t8\nIcmp6InEchos                    \t11\nIcmp6OutEchos \t2\n"
    assert echo_requests(snmp, snmp6) == 42
    with pytest.raises(ValueError, match="no line of ICMP"):
        echo_requests("", snmp6)


def test_counters_are_read_from_the_text() -> None:
    """Sums over pairs and reasons; two probes were lost."""
    counters = Counters.of(TEXT)
    assert (counters.sent, counters.results, counters.lost) == (81, {"reply": 79, "lost_host": 2}, 2)
    assert (counters.skipped, counters.rejected, counters.network_rtts) == (5, 3, 37)
    assert counters.lags == [(0.001, 10), (0.002, 12), (math.inf, 12)]
    with pytest.raises(ValueError, match="no monlat_schedule_lag_seconds"):
        Counters.of(b"up 1\n")


def test_counters_are_compared() -> None:
    """Between two scrapes 12 lags came, of which one is over 2 ms; a result that is new counts from zero."""
    later = replace(
        Counters.of(TEXT),
        sent=100,
        results={"reply": 90, "lost_host": 2, "lost_network": 4},
        skipped=6,
        lags=[(0.001, 15), (0.002, 23), (math.inf, 24)],
    )
    between = later.since(Counters.of(TEXT))
    assert (between.sent, between.lost, between.skipped, between.rejected) == (19, 4, 1, 0)
    assert between.lags == [(0.001, 5), (0.002, 11), (math.inf, 12)]
    assert [between.lag(q) for q in (0.4, 0.5, 0.99)] == [0.001, 0.002, math.inf]
    assert between.since(between).lag(0.99) == 0


def test_threads_that_have_ended_have_no_wake_ups() -> None:
    """Thread 2 is gone, 3 is new, 1 was woken 7 times."""
    assert wake_ups_between({1: 10, 2: 500}, {1: 17, 3: 4}) == 11


def test_processor_time_counts_threads_that_have_ended() -> None:
    """The clock of this process from outside is the one that it reads itself, with a thread's work of before."""

    def work() -> None:
        until = time.thread_time_ns() + 20_000_000
        while time.thread_time_ns() < until:
            pass

    before = time.process_time_ns()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert before + 20_000_000 <= processor_ns(os.getpid()) <= time.process_time_ns()


def test_waiting_is_a_wake_up() -> None:
    """A thread that waits 13 times gives up its core at least so often."""
    begin = Moment.of(os.getpid())
    for _ in range(13):
        time.sleep(0.001)
    assert wake_ups_between(begin.wake_ups, wake_ups_by_thread(os.getpid())) >= 13


def test_compressed_answer_has_its_content() -> None:
    """What is measured is what came; what is read is the text."""
    packed = gzip.compress(TEXT)
    assert Answer(0.1, "text/plain", True, packed).content == TEXT
    assert Answer(0.1, "text/plain", False, TEXT).content == TEXT


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({}, 0),
        ({"content_type": "text/plain; version=0.0.4"}, 1),
        ({"seconds": (0.1, 0.151, 0.2)}, 1),
        ({"seconds": (0.1, 0.149, 2.0)}, 0),
        ({"size": 500_001}, 1),
        ({"growth": 8.1}, 1),
        ({"peers": 1000, "size": 900_000}, 0),
        ({"compressed": False, "size": 900_000}, 0),
        ({"wanted": OPENMETRICS, "size": 900_000}, 0),
    ],
    ids=str,
)
def test_claims_about_native_scrapes(change: dict[str, object], failed: int) -> None:
    """With 5,000 peers: protobuf, a median under 150 ms, 500 kB compressed, 8 MiB more."""
    cost = FormatCost(5000, NATIVE, True, (0.1, 0.12, 0.3), 400_000, "application/vnd.google.protobuf; x=y", 1.0)
    claims = Claims()
    judge_formats(claims, [replace(cost, **change)])  # type: ignore[arg-type]
    assert claims.exit_status == failed


@pytest.mark.parametrize(("seconds", "failed"), [(0.299, 0), (0.301, 1)])
def test_claim_about_classic_scrapes(seconds: float, failed: int) -> None:
    """300 ms, whatever its size."""
    claims = Claims()
    judge_formats(claims, [FormatCost(5000, CLASSIC, True, (seconds,), 10**9, "text/plain; version=0.0.4", 0.0)])
    assert claims.exit_status == failed


@pytest.mark.parametrize("wanted", [CLASSIC, OPENMETRICS, NATIVE], ids=lambda wanted: str(wanted.name))
def test_accept_headers_prefer_their_format(wanted: Format) -> None:
    """The first media range has no weight, so it is preferred to all others."""
    first, *others = wanted.accept.split(",")
    assert ";q=" not in first
    assert all(";q=" in other for other in others)


def test_traffic_is_compared_round_by_round() -> None:
    """TCP has 0.9, 1 and 0.5 times the rate of the same round, UDP twice as many packets."""
    without = [Rates(10, 1), Rates(20, 2), Rates(40, 3)]
    beside = [Rates(9, 2), Rates(20, 4), Rates(20, 6)]
    compared = Comparison(without, beside)
    assert compared.ratios(lambda rates: rates.tcp) == [0.9, 1.0, 0.5]
    assert compared.ratios(lambda rates: rates.udp) == [2.0, 2.0, 2.0]
