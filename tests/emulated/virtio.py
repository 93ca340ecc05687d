"""Two machines with wires between their virtio and their e1000 network cards: the receive paths of real drivers.

pytest does not collect this file by its name: scripts/test-kernels runs it in one of two virtual machines; the other
one only answers.
"""

from __future__ import annotations

import time
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from statistics import median
from typing import Literal

import pytest

from monlat_ebpf.abi import layout
from monlat_ebpf.model import Peer, Result
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace
from testkit import bpf_programs
from tests.emulated.findings import note
from tests.emulated.hooks import count_hits, hits, one_receive_hook
from tests.kernel.measuring import Measurement

PROBES = 499
DEVICE = "eth0"
PEER = Peer("other", (ip_address("10.88.0.2"), ip_address("fd88::2")))
PAGES_PEER = Peer("other, by e1000", (ip_address("10.88.1.2"), ip_address("fd88:1::2")))
BOOT_SECONDS = 120


def _wait_for_the_other_machine(here: Namespace, peer: Peer) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    for address in peer.addresses:
        while here.run(["ping", "-c", "1", "-W", "1", str(address)]).returncode:
            assert time.monotonic() < deadline, f"{address} does not answer"


@pytest.mark.parametrize(
    ("driver", "device", "peer", "hook"),
    [
        ("virtio_net", DEVICE, PEER, "napi_gro_receive_entry"),
        ("e1000", "eth1", PAGES_PEER, "napi_gro_frags_entry"),  # its packets have no linear data
    ],
)
def test_driver_stamps_every_probe(driver: str, device: str, peer: Peer, hook: str) -> None:
    """With the hook of the driver's way the only one for receiving, all of 998 probes have an RTT by the driver."""
    here = Namespace.current()
    assert Path(f"/sys/class/net/{device}/device/driver").resolve().name == driver
    _wait_for_the_other_machine(here, peer)
    count_hits()
    measurement = Measurement(
        *(here, [peer]),
        probes=PROBES,
        interval_seconds=0.05,
        timeout_seconds=0.75,
        open_source=partial(one_receive_hook, hook),
    )
    with measurement as near:
        outcomes = near.wait()
        pairs = near.pairs()
        assert isinstance(near.source, TracepointSource)
        counted = hits(near.source)
    rtts = [outcome.rtt_ns for outcome in outcomes.values() if outcome.rtt_ns is not None]
    note(f"{driver}, stamped by {hook} alone (hit {counted[hook]} times): {len(rtts)} of {2 * PROBES} probes")
    note(f"median RTT {median(rtts) / 1000:.0f} us")
    assert near.results() == {Result.REPLY: 2 * PROBES}
    assert len(rtts) == 2 * PROBES
    assert {outcome.stamped_by for outcome in outcomes.values()} == {layout.CONSTANTS["STAMPED_BY_DRIVER"]}
    assert counted[hook] >= 2 * PROBES
    assert counted.keys() == {"net_dev_start_xmit", hook}
    assert {pair.device for pair in pairs} == {device}
    assert near.unmatched() == {}


@pytest.mark.parametrize(("action", "result"), [("pass", Result.REPLY), ("drop", Result.LOST_NETWORK)])
def test_native_xdp_is_seen_as_ping_sees_it(action: Literal["pass", "drop"], result: Result) -> None:
    """23 probes of each family: XDP_PASS costs no reply; what it drops before any hook is the network's."""
    here = Namespace.current()
    _wait_for_the_other_machine(here, PEER)
    bpf_programs.attach_xdp(here, DEVICE, "native", action)
    try:
        with Measurement(here, [PEER], probes=23, interval_seconds=0.3, timeout_seconds=4.0) as near:
            outcomes = near.wait().values()
        ping = here.run(["ping", "-c", "5", "-i", "0.2", "-W", "4", str(PEER.addresses[0])])
    finally:
        bpf_programs.detach_xdp(here, DEVICE, "native")
    note(f"native XDP, {action}: {dict(near.results())}, ping {'answered' if ping.returncode == 0 else 'lost all'}")
    assert (ping.returncode == 0) is (result is Result.REPLY)
    assert near.results() == {result: 46}
    assert {outcome.rtt_ns is not None for outcome in outcomes} == {result is Result.REPLY}
