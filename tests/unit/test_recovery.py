"""How all agents of a cluster come back after the API server's return, by arithmetic: no thread, no clock, no sleep.

The simulation has the decisions of KubernetesDiscovery, made by the real Backoff and RateLimiter: after a failure, wait
and resume the watch; told 410, list again. A request takes no time.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from dataclasses import dataclass, field
from random import Random

import pytest

from monlat_ebpf.config import Timing
from monlat_ebpf.discovery.api_errors import Reason
from monlat_ebpf.discovery.backoff import Backoff, RateLimiter

TIMING = Timing()


@dataclass
class Recovery:
    """What the API server saw: the times of all lists, and when each agent's watch began. Seconds after its end."""

    lists: list[float] = field(default_factory=list)
    watches: list[float] = field(default_factory=list)

    def most_lists_a_second(self) -> int:
        times = sorted(self.lists)
        return max(bisect_left(times, time + 1) - first for first, time in enumerate(times))


class Agent:
    def __init__(self, agents: int, random: Random) -> None:
        self._agents = agents
        self.limiter = RateLimiter(TIMING.requests_per_second, TIMING.burst)
        self.backoff = Backoff(
            base=TIMING.backoff_base,
            cap=TIMING.backoff_cap,
            outage_cap=TIMING.outage_cap,
            per_second=TIMING.retries_per_second,
            draw=random.uniform,
        )
        self.lists_first = False

    def turn(self, now: float) -> float:
        """Return when the request that is wanted now is sent."""
        return now + self.limiter.take(now)

    def after(self, reason: Reason, now: float) -> float:
        """Return when to try again."""
        return self.turn(now + self.backoff.next_delay(reason, self._agents))


def recover(agents: int, returns: float, *, seed: int, is_compacted: bool = True) -> Recovery:
    """The server ends at 0 and is back `returns` seconds later. What the agents knew is compacted by then, or not."""
    random, seen = Random(seed), Recovery()
    queue = []
    for number in range(agents):
        agent = Agent(agents, random)
        queue.append((agent.after(Reason.STREAM, 0.0), number, agent))
    heapq.heapify(queue)
    while queue:
        now, number, agent = heapq.heappop(queue)
        if now < returns:
            then = agent.after(Reason.CONNECTION, now)
        elif agent.lists_first:
            seen.lists.append(now)
            seen.watches.append(agent.turn(now))
            continue
        elif is_compacted:
            agent.lists_first = True
            then = agent.after(Reason.GONE, now)
        else:
            seen.watches.append(now)
            continue
        heapq.heappush(queue, (then, number, agent))
    return seen


@pytest.mark.parametrize("agents", [1, 3, 23, 60])
@pytest.mark.parametrize("returns", [0.0, 2.0, 22.0, 60.0, 3600.0])
def test_small_cluster_follows_within_5_seconds(agents: int, returns: float) -> None:
    """Of every agent, list and watch; 29 times each. What it lists is published 0.2 s later."""
    for seed in range(29):
        for is_compacted in (True, False):
            seen = recover(agents, returns, seed=seed, is_compacted=is_compacted)
            assert len(seen.watches) == agents
            assert max(seen.watches) + TIMING.debounce_seconds < returns + 5


@pytest.mark.parametrize("agents", [500, 1000, 5000])
@pytest.mark.parametrize("returns", [0.0, 22.0, 600.0])
def test_large_cluster_lists_some_tens_of_times_a_second(agents: int, returns: float) -> None:
    """30 a second on average. In the first round, before waits become twice as long, up to 30 x e^0.5 = 50.

    That is the renewal density of waits from 0 to P, then from 0 to 2 P, after P. 85 would be 5 standard deviations
    above it. The last agent lists when 2 P is over, which is 2 N / 30 s, or 3 s.
    """
    seen = recover(agents, returns, seed=agents)
    assert len(seen.lists) == agents
    assert seen.most_lists_a_second() < 85
    assert max(seen.watches) < returns + 2 * agents / 30 + 3


def test_all_watches_compacted_at_once_are_spread() -> None:
    """Without an outage: 1,000 agents are told 410 in the same moment. They list in 33 s."""
    random = Random(7)
    agents = [Agent(1000, random) for _ in range(1000)]
    seen = Recovery([agent.after(Reason.GONE, 0.0) for agent in agents])
    assert seen.most_lists_a_second() < 60
    assert 30 < max(seen.lists) <= 1000 / 30
