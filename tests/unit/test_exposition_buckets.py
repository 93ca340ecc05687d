"""The counts that an agent adds to its JSON for a collector, and for nobody else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from monlat_ebpf.exposition.api import render_peers
from monlat_ebpf.exposition.buckets import Counted
from monlat_ebpf.exposition.self_metrics import ScheduleLag
from monlat_ebpf.model import PairSnapshot, PeerKind
from tests.unit import snapshots


def documents(pair: PairSnapshot) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answer without counts, and that with them."""
    agent = snapshots.agent([pair])
    plain, counted = (b"".join(render_peers(agent, each)) for each in (None, Counted(lambda: [60, 7])))
    return json.loads(plain), json.loads(counted)


@pytest.mark.parametrize(
    ("pair", "buckets"),
    [
        (snapshots.ANSWERING, {"rtt": [49, 1, 71, 1, 73, 1], "network_rtt": [36, 1, 49, 1], "dwell": [36, 2]}),
        (snapshots.ANSWERING_OVER_IPV6, {"rtt": [73, 1], "network_rtt": [], "dwell": [36, 1]}),
        (snapshots.NEVER_ANSWERED, {"rtt": [], "network_rtt": None, "dwell": None}),
    ],
)
def test_buckets_that_are_not_empty_are_added(pair: PairSnapshot, buckets: Mapping[str, Any]) -> None:
    """Everything else stays as it is without them. A time that the source cannot see is null."""
    plain, counted = documents(pair)
    assert counted["pairs"][0].pop("buckets") == buckets
    assert counted.pop("schedule_lag_buckets") == [60, 7]
    assert counted.pop("created_unix_seconds") == 0
    assert counted == plain


def test_target_has_no_buckets() -> None:
    """No collector has a row for it."""
    plain, counted = documents(replace(snapshots.ANSWERING, kind=PeerKind.TARGET))
    assert counted["pairs"] == plain["pairs"]


def test_lag_is_in_the_first_of_the_kernels_buckets_of_its_octave() -> None:
    """An octave's eight buckets begin after that of its lower edge: 2^-4 s is the edge of bucket 128.

    1 us is at most 2^-17 s, whose octave is that of 2^-18 to 2^-17 s: buckets 17 to 24. 9 s is over 8 s.
    """
    lag = ScheduleLag()
    assert lag.flat() == []
    for nanoseconds in (1_000, 70_000_000, 120_000_000, 130_000_000, 9_000_000_000):
        lag.observe([nanoseconds])
    assert lag.flat() == [17, 1, 129, 2, 137, 1, 185, 1]
