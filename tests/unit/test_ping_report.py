"""The summary of a ping, and the document that --json prints."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from monlat_ebpf.model import Result
from monlat_ebpf.ping.events import Ended
from monlat_ebpf.ping.report import Head, Times, document, summary

PROBES = (
    Ended(1, Result.REPLY, 300_000, 20_000, 500_000),
    Ended(0, Result.REPLY, 100_000, 10_000, 400_000),
    Ended(2, Result.LOST_NETWORK, None, 30_000),
    Ended(3, Result.UNREACHABLE, None, 40_000, None, "icmp_time_exceeded", ip_address("10.0.0.254")),
    Ended(4, Result.SEND_ERROR, error="ENETUNREACH"),
)


@pytest.mark.parametrize(("q", "wanted"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_quantiles_are_samples_by_nearest_rank(q: float, wanted: int) -> None:
    """Of 1 to 100 in any order, the q-quantile is the sample of rank 100 q, rounded up."""
    assert Times(tuple(range(100, 0, -1))).quantile(q) == wanted


def test_quantiles_of_few_samples() -> None:
    """Of one sample every quantile is that one; of two the median is the lower; of none it is None."""
    assert [Times((7,)).quantile(q) for q in (0.5, 0.99)] == [7, 7]
    assert Times((9, 7)).quantile(0.5) == 7
    assert Times(()).quantile(0.5) is None


def test_every_probe_is_in_the_summary_once() -> None:
    """Seven sent: five ended, two in flight; the times are of those that have one."""
    sums = summary(PROBES, sent=7, in_flight=2, late=1, duplicates=3)
    assert sums == {
        "sent": 7,
        "replies": 2,
        "lost": 3,
        "results": {
            "reply": 2,
            "lost_network": 1,
            "lost_forward": 0,
            "lost_return": 0,
            "lost_host": 0,
            "unreachable": 1,
            "send_error": 1,
        },
        "in_flight": 2,
        "late": 1,
        "duplicates": 3,
        "rtt_seconds": {"min": 0.0001, "p50": 0.0001, "p99": 0.0003, "max": 0.0003},
        "send_delay_seconds": {"min": 0.00001, "p50": 0.00002, "p99": 0.00004, "max": 0.00004},
        "user_rtt_seconds": {"min": 0.0004, "p50": 0.0004, "p99": 0.0005, "max": 0.0005},
    }


def test_the_document_lists_probes_in_the_order_of_sending() -> None:
    """They may end in another order; what is not known is null."""
    head = Head("node2", ip_address("10.0.0.2"), "socket", "no BTF")
    whole = document(head, PROBES, summary(PROBES, sent=5, in_flight=0, late=0, duplicates=0))
    assert {key: whole[key] for key in ("host", "address", "family", "source", "source_reason")} == {
        "host": "node2",
        "address": "10.0.0.2",
        "family": "ipv4",
        "source": "socket",
        "source_reason": "no BTF",
    }
    assert [probe["sequence"] for probe in whole["probes"]] == [0, 1, 2, 3, 4]
    assert whole["probes"][0] == {
        "sequence": 0,
        "result": "reply",
        "rtt_seconds": 0.0001,
        "send_delay_seconds": 0.00001,
        "user_rtt_seconds": 0.0004,
        "error": "",
        "error_from": None,
    }
    assert whole["probes"][3] == {
        "sequence": 3,
        "result": "unreachable",
        "rtt_seconds": None,
        "send_delay_seconds": 0.00004,
        "user_rtt_seconds": None,
        "error": "icmp_time_exceeded",
        "error_from": "10.0.0.254",
    }
