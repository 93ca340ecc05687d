"""A simulated cluster for bench/diagnosis: who probes whom, what is usual, noise, and one window after another.

Every agent sends a probe a second to each of its peers. Noise, without any fault: times are log-normal, and one in a
hundred has a heavy (Pareto) tail. Pairs differ in distance and in how much they vary. The whole cluster is up to 9 %
slower by day. Packets are lost at random, in the network and in hosts, and for each pair in a burst of 2 s about once a
day. About once a day a node has a window in which its packets take twice as long (a backup, a migration), and half as
often a pair has one. About once a day a queue of a node is full for 2 s: half of its probes are lost in the host.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate
from random import Random

from bench.diagnosis_faults import Broken, Effect, Ground
from monlat_ebpf.abi import layout
from monlat_ebpf.abi.histogram import EDGES_NS, bucket_of, of_samples
from monlat_ebpf.diagnosis.window import Health, Node, Row, Samples, Window
from monlat_ebpf.model import Result

WINDOW_SECONDS = 5
PROBES = 5
DAY_WINDOWS = 86_400 // WINDOW_SECONDS
LEG_LOSS = 1e-4  # in the host that probes, on the way, and on the way back
BURSTS = 1 / DAY_WINDOWS  # for each pair and window
BURST_LOSS, BURST_PROBES = 0.5, 2
NODE_HICCUPS = 1 / DAY_WINDOWS
FULL_QUEUES = 1 / DAY_WINDOWS  # for each node and window
PAIR_HICCUPS = 0.5 / DAY_WINDOWS
HICCUP_BUCKETS = 8  # twice as long
VARIATIONS = ((0.08, 0.80), (0.15, 0.15), (0.35, 0.05))  # of log-normal times: standard deviation, and part of pairs
DWELL_SECONDS, DWELL_VARIATION = 20e-6, 0.2
WITHIN_ZONE_SECONDS, BETWEEN_ZONES_SECONDS = 180e-6, 700e-6
TAIL_PART, TAIL_SHAPE = 0.01, 1.5
QUARTERS = 4  # pools of samples are kept for medians a quarter of a bucket apart
POOL = 256
CHANCES = 2  # later requests of a peer that can tell what became of a probe
ON_TIME, LATE = 1_000_000, 400_000_000  # ns
IDENTITY = bytes(range(256))


@lru_cache(maxsize=4096)
def pool(variation: float, quarters: int) -> tuple[bytes, ...]:
    """Return cells of samples around a median: the middle of bucket 0, `quarters` of a bucket further."""
    random = Random(f"{variation} {quarters}")
    cells = []
    for _ in range(POOL):
        buckets = []
        for _ in range(PROBES):
            octaves = random.gauss(0, variation) / math.log(2)
            if random.random() < TAIL_PART:
                octaves += math.log2(random.paretovariate(TAIL_SHAPE))
            bucket = round(quarters / QUARTERS + layout.BUCKETS_PER_OCTAVE * octaves)
            buckets.append(min(max(bucket, 0), layout.BUCKETS - 1))
        cells.append(bytes(sorted(buckets)))
    return tuple(cells)


@lru_cache(maxsize=1024)
def later(delay_us: int) -> bytes:
    """Return the table that moves buckets by a delay: each to that of its middle, and the delay."""
    moved = []
    for bucket in range(layout.BUCKETS):
        edge = EDGES_NS[min(bucket, len(EDGES_NS) - 1)]
        moved.append(bucket_of(round(edge * 2 ** (-0.5 / layout.BUCKETS_PER_OCTAVE)) + delay_us * 1000))
    return bytes(moved) + IDENTITY[layout.BUCKETS :]


def quarters_of(seconds: float) -> int:
    bucket = layout.BUCKETS_PER_OCTAVE * (math.log2(seconds) - layout.LOWEST_OCTAVE) + 0.5
    return round(QUARTERS * bucket)


def regular_graph(nodes: int, degree: int, random: Random) -> list[list[int]]:
    """Return for each node its peers: all, or the union of degree / 2 rings, each in an order of its own."""
    if degree >= nodes - 1:
        return [[peer for peer in range(nodes) if peer != node] for node in range(nodes)]
    peers: list[set[int]] = [set() for _ in range(nodes)]
    for _ in range(degree // 2):
        ring = random.sample(range(nodes), nodes)
        for one, other in zip(ring, ring[1:] + ring[:1], strict=True):
            peers[one].add(other)
            peers[other].add(one)
    return [sorted(each) for each in peers]


class Cluster:
    """A cluster of `size` nodes in `zones` zones, each probing `degree` others."""

    def __init__(self, seed: str, size: int, degree: int, zones: int = 3) -> None:
        self.random = random = Random(seed)
        zone_of = sorted(f"zone-{i % zones}" for i in range(size))
        numbers = random.sample(range(10_000), size)
        self.nodes = tuple(Node(f"node-{number:04}", zone) for number, zone in zip(numbers, zone_of, strict=True))
        peers = regular_graph(size, degree, random)
        rtt = {}
        self.variation: dict[tuple[int, int], float] = {}
        for a in range(size):
            for b in peers[a]:
                if a < b:
                    usual = WITHIN_ZONE_SECONDS if zone_of[a] == zone_of[b] else BETWEEN_ZONES_SECONDS
                    rtt[a, b] = rtt[b, a] = usual * math.exp(random.gauss(0, 0.2))
                    deviations, parts = zip(*VARIATIONS, strict=True)
                    self.variation[a, b] = self.variation[b, a] = random.choices(deviations, parts)[0]
        self.ground = Ground([node.name for node in self.nodes], list(zone_of), peers, rtt)
        self.peers = [array("I", each) for each in peers]
        self.number = random.randrange(DAY_WINDOWS)
        self.day = 0
        self.pools: list[list[tuple[bytes, ...]]] = []
        self._set_day(0)

    def window(self, broken: Broken) -> Window:
        """Return the next window, of a cluster in which this is broken."""
        random = self.random
        self.number += 1
        day = round(QUARTERS * 0.5 * (1 - math.cos(2 * math.pi * self.number / DAY_WINDOWS)))
        if day != self.day:
            self._set_day(day)
        special: dict[int, dict[int, Effect]] = {}
        for (sender, peer), effect in broken.effects.items():
            special.setdefault(sender, {})[peer] = effect
        hiccups = self._hiccups()
        wobble = random.uniform(0.9, 1.1)
        return Window(
            self.nodes,
            [
                None
                if random.random() < broken.unanswered.get(node, 0.0)
                else self._row(node, broken, special, hiccups.get(node, {}), wobble)
                for node in range(len(self.nodes))
            ],
        )

    def _set_day(self, day: int) -> None:
        self.day = day
        self.pools = [
            [
                pool(self.variation[node, peer], quarters_of(self.ground.rtt[node, peer]) + day)
                for peer in self.ground.peers[node]
            ]
            for node in range(len(self.nodes))
        ]

    def _hiccups(self) -> dict[int, dict[int, str]]:
        """Return what else happens in this window without a fault, by sender and peer: "slow", "burst" or "queue"."""
        random, found = self.random, dict[int, dict[int, str]]()
        size = len(self.nodes)
        for node in range(size):
            if random.random() < NODE_HICCUPS:
                for peer in self.ground.peers[node]:
                    found.setdefault(node, {})[peer] = found.setdefault(peer, {})[node] = "slow"
            if random.random() < FULL_QUEUES:
                found.setdefault(node, {}).update(dict.fromkeys(self.ground.peers[node], "queue"))
        pairs = sum(map(len, self.peers)) / 2
        for what, rate in (("burst", BURSTS), ("slow", PAIR_HICCUPS)):
            for _ in range(_poisson(pairs * rate, random)):
                node = random.randrange(size)
                peer = random.choice(self.ground.peers[node])
                found.setdefault(node, {})[peer] = found.setdefault(peer, {})[node] = what
        return found

    def _row(
        self,
        node: int,
        broken: Broken,
        special: Mapping[int, dict[int, Effect]],
        hiccups: dict[int, str],
        wobble: float,
    ) -> Row:
        """Return the row of a node. `special` has the effects of faults, by sender and peer."""
        random, peers, effects = self.random, self.peers[node], special.get(node, {})
        skipped = sum(random.random() < broken.skipped.get(node, 0.0) for _ in range(PROBES))
        count = PROBES - skipped
        cells = [each[random.getrandbits(8)] for each in self.pools[node]]
        if skipped:
            cells = [_some(cell, count, random) for cell in cells]
        results: dict[Result, array[int]] = {Result.REPLY: array("I", [count]) * len(peers)}
        at_random = range(_poisson(len(peers) * count * 3 * LEG_LOSS, random))
        lost_at = {random.randrange(len(peers)) for _ in at_random}
        by_position = (
            {i for i, peer in enumerate(peers) if peer in effects or peer in hiccups} if (effects or hiccups) else set()
        )
        for i in lost_at | by_position:
            effect = effects.get(peers[i], Effect())
            hiccup = hiccups.get(peers[i], "")
            cell = cells[i]
            if effect.delay:
                cell = cell.translate(later(round(effect.delay * wobble * 1e6)))
            if hiccup == "slow":
                cell = bytes(min(bucket + HICCUP_BUCKETS, layout.BUCKETS - 1) for bucket in cell)
            of_peer = special.get(peers[i], {}).get(node, Effect())
            unheard = 1 - (1 - of_peer.host) * (1 - effect.back)
            lost = self._losses(count, effect, unheard, hiccup, is_hit=i in lost_at)
            for result, number in lost.items():
                results.setdefault(result, array("I", bytes(4 * len(peers))))[i] = number
            results[Result.REPLY][i] -= sum(lost.values())
            cells[i] = _some(cell, count - sum(lost.values()), random)
        network = Samples(b"".join(cells), array("I", accumulate(map(len, cells))))
        dwell = self._dwell(node, broken, wobble)
        health = _health(len(peers) * count, len(peers) * skipped)
        return Row(peers, results, Samples.of([b""] * len(peers)), health, network, dwell)

    def _dwell(self, node: int, broken: Broken, wobble: float) -> Samples:
        of_all = pool(DWELL_VARIATION, quarters_of(DWELL_SECONDS))
        buckets = b"".join(self.random.choices(of_all, k=len(self.peers[node])))
        delay = broken.dwell_delay.get(node, 0.0)
        if delay:
            buckets = buckets.translate(later(round(delay * wobble * 1e6)))
        return Samples(buckets, array("I", range(PROBES, PROBES * (len(self.peers[node]) + 1), PROBES)))

    def _losses(self, count: int, effect: Effect, unheard: float, hiccup: str, *, is_hit: bool) -> dict[Result, int]:
        """Return the losses of a cell by result; `is_hit`: one by chance.

        A direction is known if a later request of the peer comes through: it is lost with the probability `unheard`, in
        the peer's host or on the way.
        """
        random = self.random
        found: dict[Result, int] = {}
        burst_at = random.randrange(count) if hiccup in ("burst", "queue") and count else count
        hit = random.randrange(count) if is_hit and count else -1
        for number in range(count):
            burst = BURST_LOSS if 0 <= number - burst_at < BURST_PROBES else 0.0
            on_the_way, in_host = (0.0, burst) if hiccup == "queue" else (burst, 0.0)
            legs = (
                (Result.LOST_HOST, max(effect.host, in_host)),
                (Result.LOST_FORWARD, max(effect.forward, on_the_way)),
                (Result.LOST_RETURN, max(effect.back, on_the_way)),
            )
            by_chance = random.choice(legs)[0] if number == hit else None
            result = next((leg for leg, lost in legs if leg is by_chance or random.random() < lost), None)
            if result in (Result.LOST_FORWARD, Result.LOST_RETURN) and random.random() < unheard**CHANCES:
                result = Result.LOST_NETWORK
            if result is not None:
                found[result] = found.get(result, 0) + 1
        return found


def _some(cell: bytes, count: int, random: Random) -> bytes:
    return cell if count >= len(cell) else bytes(sorted(random.sample(cell, max(count, 0))))


@lru_cache(maxsize=4096)
def _health(sent: int, skipped: int) -> Health:
    """Return what an agent says of itself, of the probes to all peers. In a window with a skipped one, all are late."""
    return Health(sent, skipped, of_samples([LATE if skipped else ON_TIME] * sent))


def _poisson(mean: float, random: Random) -> int:
    """Return a Poisson-distributed number, by waiting times; means are small here."""
    count, waited = 0, random.expovariate(1.0)
    while waited < mean:
        count += 1
        waited += random.expovariate(1.0)
    return count
