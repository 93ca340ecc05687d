"""What bench/losses compares: monlat's report with the kernel's counters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.losses_result import Report, Side, failures
from monlat_ebpf.abi.layout import UNMATCHED_REASONS

NEAR = Side(requests=1_000, replies=880, queue_drops=70, device_drops=0)
FAR = Side(requests=930, replies=930, queue_drops=40, device_drops=10)
REPORT = Report(
    sent=1_000,
    results={"reply": 876, "lost_host": 71, "lost_network": 53},
    in_flight=0,
    late=4,
    duplicates=0,
    unmatched=dict.fromkeys(UNMATCHED_REASONS, 0) | {"not_transmitted": 3},
    skipped=17,
    stamps={"eth0 driver": 876},
)
"""1,000 requests, 70 dropped here and 50 replies there; 4 replies came late, one of them to a probe that left late."""


def test_equal_sides_hold() -> None:
    """124 losses less 4 late replies are 120 drops; a reply without an RTT is in no other count."""
    assert failures(REPORT, NEAR, FAR) == []


@pytest.mark.parametrize(
    ("results", "failed"),
    [
        (
            {"reply": 875, "lost_host": 71, "lost_network": 54},
            ["reported replies and late = at this host", "reported losses - late = dropped"],
        ),
        (
            {"reply": 876, "lost_host": 78, "lost_network": 46},
            ["lost_host = dropped by the queue of this host", "other losses = dropped behind it"],
        ),
        (
            {"reply": 876, "lost_host": 71, "lost_network": 52},
            ["sent = results + in flight", "reported losses - late = dropped"],
        ),
    ],
    ids=["invented loss", "wrong side", "loss not reported"],
)
def test_wrong_report_fails(results: dict[str, int], failed: list[str]) -> None:
    """One loss invented, eight on the wrong side, one not reported."""
    assert failures(replace(REPORT, results=results), NEAR, FAR) == failed


@pytest.mark.parametrize(("misplaced", "failed"), [(3, []), (4, ["lost_host = dropped by the queue of this host"])])
def test_losses_counted_as_this_hosts_by_mistake_left_unseen(misplaced: int, failed: list[str]) -> None:
    """Three replies have no RTT, as their requests left unseen; a fourth such loss would be one too many."""
    results = {"reply": 880, "lost_host": 70 + misplaced, "lost_network": 50 - misplaced}
    wrong = failures(replace(REPORT, results=results, late=0), NEAR, FAR)
    assert wrong == failed + ["other losses = dropped behind it"] * bool(failed)


def test_unmatched_and_duplicate_packets_fail() -> None:
    """Each reply on this wire is the only one to its probe."""
    packets = {**REPORT.unmatched, "nonce_mismatch": 1}
    assert failures(replace(REPORT, unmatched=packets), NEAR, FAR) == ["duplicates and unmatched packets"]
    assert failures(replace(REPORT, duplicates=1), NEAR, FAR) == ["duplicates and unmatched packets"]


def test_loss_that_no_counter_explains_fails() -> None:
    """Two requests passed this host's firewall and its queue, and never came to the other."""
    assert failures(REPORT, NEAR, replace(FAR, requests=928, replies=928)) == [
        "requests of this host - dropped = at the far end",
        "replies of the far end - dropped = at this host",
    ]


def test_queue_that_drops_nothing_proves_nothing() -> None:
    """Without drops the bench fails, however right the report is."""
    report = replace(REPORT, results={"reply": 1_000}, late=0)
    idle = Side(1_000, 1_000, 0, 0)
    assert failures(report, idle, idle) == [
        "the queue of this host dropped nothing: it was not saturated",
        "the queue of the far end dropped nothing: it was not saturated",
    ]
