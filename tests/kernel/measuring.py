"""Measures in a namespace of the test bed with the real prober, and keeps every outcome."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.model import Address, Family, PairSnapshot, Peer, Result
from monlat_ebpf.probing.ledger import Outcome
from monlat_ebpf.probing.prober import Prober, Target
from monlat_ebpf.sources import Source
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace

DEADLINE_SECONDS = 60
NODE = "tester"


@dataclass(slots=True)
class Samples:
    """Keeps what is observed, in seconds."""

    seconds: list[float] = field(default_factory=list)

    def observe(self, amount: float) -> None:
        self.seconds.append(amount)


class Measurement:
    """A prober in a thread of its own inside `namespace`, from entering to leaving the block.

    Each peer is probed once in `interval_seconds`; the first `probes` outcomes of each are kept, and with the
    last of them probing ends, so that a test has a known number of them. Of one probe each, no more are sent
    where three quarters of the interval are longer than the time-out: the first round takes the first quarter.
    `settle_seconds` is how long `wait` waits on for packets that are due after the last outcome.
    """

    def __init__(
        self,
        namespace: Namespace,
        peers: Sequence[Peer],
        *,
        probes: int = 1,
        interval_seconds: float = 3.0,
        timeout_seconds: float = 1.0,
        settle_seconds: float = 0.0,
        open_source: Callable[[TableSize], Source] = TracepointSource,
        wall_clock: WallClock | None = None,
    ) -> None:
        self._namespace = namespace
        self._peers = peers
        self._probes = probes
        self._settle_seconds = settle_seconds
        self.outcomes: dict[tuple[Address, int], Outcome] = {}
        self._complete = threading.Event()
        self.send_delay = Samples()
        self.schedule_lag = Samples()
        with namespace.entered():
            self.source = open_source(TableSize(len(peers) * len(Family)))
        self.prober = Prober(
            self.source,
            node=NODE,
            interval_seconds=interval_seconds,
            timeout_seconds=timeout_seconds,
            max_peers=len(peers),
            send_delay=self.send_delay,
            schedule_lag=self.schedule_lag,
            wall_clock=wall_clock,
            on_outcome=self._keep,
        )
        self._thread = threading.Thread(target=self._run, name="prober")

    @property
    def expected(self) -> int:
        return self._probes * sum(len(peer.addresses) for peer in self._peers)

    def _keep(self, target: Target, outcome: Outcome) -> None:
        if outcome.sequence < self._probes:
            self.outcomes[target.address, outcome.sequence] = outcome
            if len(self.outcomes) == self.expected:
                self._complete.set()
                self.prober.stop()

    def _run(self) -> None:
        with self._namespace.entered():
            self.prober.run()

    def wait(self) -> dict[tuple[Address, int], Outcome]:
        """Return the outcomes by address and sequence when all of them are there."""
        seconds = DEADLINE_SECONDS
        assert self._complete.wait(seconds), f"{len(self.outcomes)} of {self.expected} outcomes after {seconds} s"
        time.sleep(self._settle_seconds)
        return self.outcomes

    def results(self) -> Counter[Result]:
        return Counter(outcome.result for outcome in self.outcomes.values())

    def unmatched(self) -> dict[str, int]:
        """The reasons that were counted at all."""
        return {reason: count for reason, count in self.source.table.unmatched_packets().items() if count}

    def pairs(self) -> list[PairSnapshot]:
        with self._namespace.entered():
            return list(self.prober.pairs())

    def __enter__(self) -> Self:
        self._thread.start()
        self.prober.set_peers(self._peers)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.prober.stop()
        self._thread.join()
        self.source.close()
