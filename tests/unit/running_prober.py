"""A prober on a fake source, running in a thread, and what must hold whenever its pairs are read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from monlat_ebpf.model import PairSnapshot, Peer, Result
from monlat_ebpf.probing.ledger import Outcome
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.probing.targets import Target
from tests.unit.fake_source import FakeSource


class Bench:
    """A prober, its source, and what it reported to its callbacks."""

    def __init__(self, source: FakeSource, interval: float, timeout: float, max_peers: int) -> None:
        self.source = source
        self.lags: list[int] = []
        self.outcomes: list[tuple[str, Outcome]] = []
        self.prober = Prober(
            source,
            node="here",
            interval_seconds=interval,
            timeout_seconds=timeout,
            max_peers=max_peers,
            on_lags=self.lags.extend,
            on_outcome=self._note,
        )

    def _note(self, target: Target, outcome: Outcome) -> None:
        self.outcomes.append((target.key.peer, outcome))

    def poll(self) -> dict[tuple[str, str], PairSnapshot]:
        """Return all pairs by peer and family, after checking each."""
        pairs = {(pair.to, str(pair.family)): pair for pair in self.prober.pairs()}
        for pair in pairs.values():
            assert pair.sent == sum(pair.results.values()) + pair.in_flight
            assert pair.rtt.count >= pair.results[Result.REPLY]  # the source counts a reply before the prober does
        return pairs

    def pair(self, peer: str, family: str = "ipv4") -> PairSnapshot:
        return self.poll()[peer, family]

    def sent(self, peer: str, family: str = "ipv4") -> int:
        return self.pair(peer, family).sent

    def ended(self, peer: str) -> int:
        return sum(self.pair(peer).results.values())


@contextmanager
def running(
    source: FakeSource, *, interval: float = 0.002, timeout: float = 0.02, max_peers: int = 100
) -> Iterator[Bench]:
    bench = Bench(source, interval, timeout, max_peers)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            bench.prober.run()
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield bench
    finally:
        bench.prober.stop()
        thread.join(timeout=30)
        assert not thread.is_alive()
        assert not failures


def only(pair: PairSnapshot) -> Result:
    """Return the one result that all ended probes of `pair` have."""
    (result,) = (result for result, count in pair.results.items() if count)
    return result


def peer(name: str, *addresses: str, zone: str = "") -> Peer:
    return Peer(name, tuple(map(ip_address, addresses)), zone)


def numbered(number: int) -> Peer:
    """One of many peers, each with an address of its own."""
    return peer(f"peer{number:05}", str(ip_address(0x0A000000 + number)))
