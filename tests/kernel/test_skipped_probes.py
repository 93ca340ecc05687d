"""A probe that the agent could not send in time is counted as skipped."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from testkit.links import Links
from testkit.pair import Pair
from testkit.waiting import wait_until
from tests.kernel.agents import RunningAgent, Scrape, entry

NETWORK = "10.64.0.0/24"  # all of it are addresses of the other node
PEERS = [entry(f"node{number}", f"10.64.0.{number}") for number in range(2, 9)]
INTERVAL = 0.05


def started_and_skipped(scrape: Scrape) -> int:
    return int(scrape.total("monlat_probes_sent_total") + scrape.one("monlat_skipped_probes_total"))


def test_stopped_agent_counts_the_probes_that_it_skipped(tmp_path: Path) -> None:
    """SIGSTOP for two seconds: sent + skipped still grow by one for each of 7 targets in each interval of 50 ms."""
    with Pair() as (here, there), Links(here.namespace) as links:
        added = there.namespace.run(["ip", "route", "add", "local", NETWORK, "dev", "lo"])
        assert added.returncode == 0, added.stderr
        links.add_route(NETWORK, gateway=there.ipv4)
        stop_and_count(RunningAgent(here.namespace, tmp_path, PEERS, source="socket"))


def stop_and_count(running: RunningAgent) -> None:
    with running as agent:
        agent.wait_for_scrape(lambda scrape: scrape.total("monlat_probes_sent_total") >= 7 * 2)
        before = time.monotonic()
        first = agent.scrape()
        after = time.monotonic()
        os.kill(agent.process.pid, signal.SIGSTOP)
        wait_until(lambda: time.monotonic() - after > 2)
        os.kill(agent.process.pid, signal.SIGCONT)

        def every_point_is_counted() -> bool:
            asked = time.monotonic()
            last = agent.scrape()
            counted = started_and_skipped(last) - started_and_skipped(first)
            assert counted <= 7 * ((time.monotonic() - before) / INTERVAL + 1.1)  # 2 % jitter
            skipped = last.one("monlat_skipped_probes_total") - first.one("monlat_skipped_probes_total")
            return skipped >= 7 * 35 and counted >= 7 * ((asked - after) / INTERVAL - 1.1)

        wait_until(every_point_is_counted)
        assert agent.answer()["skipped_probes"] >= 7 * 35
