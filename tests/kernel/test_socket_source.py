"""The socket source over the real kernel: the same verdicts as the tracepoint source, and honest stamps."""

from __future__ import annotations

import os
import threading
import time
from ipaddress import ip_address
from statistics import median

import pytest

from monlat_ebpf import packet
from monlat_ebpf.errors import SourceError
from monlat_ebpf.model import Family, Peer, Result
from monlat_ebpf.sources.socket.source import SocketSource
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.table import TableSize, mapped
from monlat_ebpf.testbed.actions import Action, Answer, Double, Drop, Fragment, IcmpError
from monlat_ebpf.testbed.namespace import Namespace
from monlat_ebpf.testbed.network import Pair
from monlat_ebpf.testbed.plan import Plan
from monlat_ebpf.testbed.reflector import Reflector
from tests.kernel.addresses import reflected_peers
from tests.kernel.measuring import Measurement
from tests.kernel.test_faults import CASES, Case

MILLISECOND = 1_000_000
SECOND = 1_000 * MILLISECOND
PEERS = 47


def test_every_probe_is_answered_over_both_families() -> None:
    """101 probes of each family over one wire: 202 replies with an RTT, all sent by eth0, nothing foreign."""
    with Pair() as pair:
        peer = pair["node2"]
        peers = [Peer(peer.name, (ip_address(peer.ipv4), ip_address(peer.ipv6)))]
        with Measurement(
            pair["node1"].namespace, peers, probes=101, interval_seconds=0.02, open_source=SocketSource
        ) as measurement:
            outcomes = measurement.wait()
            pairs = measurement.pairs()
            assert isinstance(measurement.source, SocketSource)
            trouble = measurement.source.trouble()
    assert measurement.results() == {Result.REPLY: 202}
    assert all(0 < (outcome.rtt_ns or 0) < 50 * MILLISECOND for outcome in outcomes.values())
    assert all(0 < (outcome.send_delay_ns or 0) < 50 * MILLISECOND for outcome in outcomes.values())
    assert {pair_.device for pair_ in pairs} == {"eth0"}
    assert all(pair_.rtt.count == pair_.results[Result.REPLY] for pair_ in pairs)
    assert measurement.foreign() == {}
    assert trouble == {}


@pytest.mark.parametrize("case", [case for case in CASES if case.name != "fragment"], ids=lambda case: case.name)
def test_fault_is_counted_as_the_tracepoint_source_counts_it(case: Case) -> None:
    """47 probes of both families meet the fault: the results and counters that the tracepoint source must have."""
    with Namespace("agent") as namespace, Reflector(namespace, Plan.cycle([case.action])):
        with Measurement(
            namespace,
            reflected_peers(PEERS),
            interval_seconds=1.2,
            timeout_seconds=0.4,
            settle_seconds=0.2,
            open_source=SocketSource,
        ) as measurement:
            measurement.wait()
            pairs = measurement.pairs()
        assert measurement.results() == {case.result: PEERS}
        assert measurement.foreign() == {reason: count * PEERS for reason, count in case.foreign.items()}
        assert sum(pair.late for pair in pairs) == case.late * PEERS
        assert sum(pair.duplicates for pair in pairs) == case.duplicates * PEERS
        assert sum(pair.rtt.count for pair in pairs) == (PEERS if case.result is Result.REPLY else 0)
