"""The testkit's agents of many peers, in front of a real agent: it uses their feedback, and gives them its own."""

from __future__ import annotations

import re

from bench.commanded_process import CommandedProcess
from bench.many_peers import PORT, bed_of_peers, running_agent
from bench.scraper import CLASSIC, Client, Counters
from testkit.waiting import wait_until

PEERS = 11
TARGETS = 2 * PEERS  # one of each family
NETWORK_RTTS = re.compile(rb"^monlat_network_rtt_seconds_count\{.*\} (\d+)$", re.MULTILINE)


def test_feedback_is_used_and_given_by_both_families() -> None:
    """Each of 22 addresses makes two network RTTs, and none is rejected; two probes to each name a request of the peer.

    The peers' agents forget all when they are told to, and meet all peers again.
    """
    with bed_of_peers() as bed:
        device = bed.there.device
        with (
            CommandedProcess(bed.there.namespace, "testkit.peer_agents_process", device, ready="report") as peers,
            running_agent(bed.here, PEERS, is_dual=True),
        ):
            wait_until(lambda: peers.ask("report")["naming"] >= 2 * TARGETS, "the agent gives no feedback", pause=0.1)
            client = Client(bed.here.namespace, PORT)
            texts: list[bytes] = []

            def every_pair_has_two() -> bool:
                texts.append(client.scrape(CLASSIC).content)
                counts = list(map(int, NETWORK_RTTS.findall(texts[-1])))
                return len(counts) == TARGETS and min(counts) >= 2

            wait_until(every_pair_has_two, "some pairs have no network RTT", pause=0.1)
            client.close()
            counters = Counters.of(texts[-1])
            assert (counters.rejected, peers.ask("report")["dropped"]) == (0, 0)
            assert peers.ask("forget")["probes"] == 0
            wait_until(lambda: peers.ask("report")["naming"] >= TARGETS, "no peer is met again", pause=0.1)
