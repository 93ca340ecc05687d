"""Paths on which a driver's view of a packet differs from the stack's: losses are those that ping sees.

The paths are those of testkit/paths. All are built at once, and measured by one kernel program.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path as FilePath

import pytest

from monlat_ebpf.model import Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit.pair import Pair
from testkit.paths.table import HERE
from tests.kernel.agents import RunningAgent, entry
from tests.kernel.path_rows import Measured, measure

PROBES = 23


@pytest.fixture(scope="module")
def measured() -> Measured:
    return measure(HERE, PROBES)


@pytest.mark.parametrize("name", [path.name for path in HERE])
def test_path_is_as_ping_and_the_far_end_see_it(name: str, measured: Measured) -> None:
    """23 probes of each family: loss as ping's, by the right cause, RTT above the far end's own time; no duplicate."""
    assert measured.unbuilt.get(name) is None
    rows = [row for row in measured.rows if row.path.name == name]
    agents = 2 if "two agents" in name else 1
    assert [len(row.outcomes) for row in rows] == [agents * PROBES] * 2
    assert [fault for row in rows for fault in row.faults()] == []


def test_rtts_have_a_reference(measured: Measured) -> None:
    """The far end's time is known for most probes in 51 rows and the packet sockets' RTT in 53: they can fail."""
    assert sum(len(row.above_dwell_ns) > PROBES // 2 for row in measured.rows) >= 51
    assert sum(len(row.beside_capture_ns) > PROBES // 2 for row in measured.rows) >= 53


def test_no_packet_is_unmatched_on_any_path(measured: Measured) -> None:
    """Two agents and ping share the host; only replies to requests in fragments match no transmit."""
    assert measured.unmatched.keys() <= {"not_transmitted"}


def test_replies_that_the_driver_had_are_counted_as_not_delivered(measured: Measured) -> None:
    """Of the probes that are lost on this host after its driver the error says so."""
    rows = {row.path.name: row for row in measured.rows if row.version == 4}
    after = [name for name in rows if " replies here" in name or name.startswith(("generic XDP_DROP", "reply"))]
    lost = [name for name in after if rows[name].results[Result.LOST_HOST] > PROBES // 2]
    assert len(lost) == 8
    for name in lost:
        errors = Counter(each.error for each in rows[name].outcomes)
        assert errors["not_delivered"] == rows[name].results[Result.LOST_HOST], errors


def test_agent_in_a_time_namespace_uses_socket_stamps(tmp_path: FilePath) -> None:
    """Its clock is 500 s behind the kernel program's: it says why it does not use that, and no probe is lost."""
    before = ("unshare", "--time", "--monotonic", "-500", "--")
    peers = [entry("node2", "10.77.0.2", "fd77::2")]
    with (
        Pair() as pair,
        RunningAgent(pair["node1"].namespace, tmp_path, peers, source="auto", before=before) as agent,
    ):
        scrape = agent.wait_for_replies(11)
        assert set(scrape.results()) == {"reply"}
        assert scrape.one("monlat_send_delay_seconds_sum") < 1
        (source,) = scrape.matching("monlat_timestamp_source_info")
        assert "time namespace" in source[0]["reason"]


def test_kernel_program_is_refused_in_a_time_namespace(tmp_path: FilePath) -> None:
    """Who asks for it gets status 1 and the reason."""
    before = ("unshare", "--time", "--monotonic", "100000", "--")
    with (
        Namespace("agent") as namespace,
        RunningAgent(namespace, tmp_path, [entry("node2", "10.77.0.2")], before=before, wait=False) as agent,
    ):
        assert agent.process.wait(timeout=60) == 1
        assert "time namespace" in agent.log()
