"""The wall clock is stepped by an hour, forward and back, while the agent measures.

Debian's faketime steps it for the agent's process only, because other processes use the machine's clock. The kernel
program uses CLOCK_MONOTONIC, which is never stepped.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from testkit.pair import Pair
from tests.kernel.agents import RunningAgent, entry

HOUR = 3600
INTERVAL_SECONDS = 0.1
PROBES = 29
SLEEP_BY_SELECT = """
import select, time
# libfaketime 0.9.10 breaks clock_nanosleep on CLOCK_MONOTONIC (its issue 426), which time.sleep uses
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""


class FakeTime:
    """The environment of a process whose wall clock is shifted by the seconds given to `set`."""

    def __init__(self, directory: Path) -> None:
        self._offset = directory / "offset"
        modules = directory / "modules"
        modules.mkdir()
        (modules / "sitecustomize.py").write_text(SLEEP_BY_SELECT)
        library = subprocess.run(
            ["faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD"], check=True, capture_output=True, text=True
        )
        self.environment = {
            "LD_PRELOAD": library.stdout.strip(),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": str(modules),
        }
        self.set(0)

    def set(self, seconds: int) -> None:
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds:+}\n")
        new.replace(self._offset)


def check_29_probes(agent: RunningAgent) -> None:
    """Check 29 probes or more: none is lost, none is early or in a burst, and no time is off by seconds."""
    start = time.monotonic()  # before the first scrape is asked for: the agent sends on while it answers
    before = agent.scrape()
    after, seconds = agent.wait_for_replies(PROBES), time.monotonic() - start
    assert set(after.results()) == {"reply"}
    sent = after.one("monlat_probes_sent_total") - before.one("monlat_probes_sent_total")
    assert sent * INTERVAL_SECONDS <= seconds + 2 * INTERVAL_SECONDS
    rtt = agent.pair("node2")["rtt_seconds"]
    assert rtt["last"] is not None
    assert rtt["min"] is not None
    assert rtt["max"] is not None
    assert 0.5e-6 < rtt["min"] <= rtt["last"] <= rtt["max"] < 1
    for histogram in ("monlat_rtt_seconds", "monlat_send_delay_seconds", "monlat_schedule_lag_seconds"):
        assert after.one(f"{histogram}_bucket", le="+Inf") == after.one(f"{histogram}_bucket", le="8.0")


def clock_offset(agent: RunningAgent, zone: str) -> float:
    """Return the shift of the agent's clock in seconds, as its timestamp of a new peer list shows it."""
    agent.write_peers([entry("node2", "10.77.0.2", zone=zone)])
    scrape = agent.wait_for_scrape(lambda scrape: scrape.has("monlat_peer_info", to_zone=zone))
    return scrape.one("monlat_discovery_last_change_timestamp_seconds") - time.time()


def test_step_of_the_wall_clock_changes_no_measurement(tmp_path: Path) -> None:
    """Before, between and after the two steps: no burst, no loss, RTTs under a second."""
    clock, peers = FakeTime(tmp_path), [entry("node2", "10.77.0.2")]
    with (
        Pair() as pair,
        RunningAgent(
            pair["node1"].namespace, tmp_path, peers, interval="100ms", environment=clock.environment
        ) as agent,
    ):
        check_29_probes(agent)
        assert clock_offset(agent, "before") == pytest.approx(0, abs=60)
        clock.set(HOUR)
        check_29_probes(agent)
        assert clock_offset(agent, "forward") == pytest.approx(HOUR, abs=60)
        clock.set(0)
        check_29_probes(agent)
        assert clock_offset(agent, "back") == pytest.approx(0, abs=60)
        check_29_probes(agent)
        assert agent.get("/healthz")[0] == 200
        assert "Traceback" not in agent.log()
