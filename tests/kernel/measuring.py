"""Measures in a namespace of the test bed with the real prober, and keeps the outcomes."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.host.wall_clock import WallClock
from monlat_ebpf.model import Address, Family, PairSnapshot, Peer, Result
from monlat_ebpf.probing.feedback import FeedbackChannel
from monlat_ebpf.probing.ledger import Outcome
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.probing.targets import Target
from monlat_ebpf.sources import Source
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace

SLOWDOWN = int(os.environ.get("MONLAT_SLOWDOWN", "1"))
"""By what factor tests wait longer: scripts/test-kernels sets it for a processor in emulation."""
DEADLINE_SECONDS = 60 * SLOWDOWN
NODE = "tester"


def unseen(probes: int) -> int:
    """Return how many of some probes, at most, may have a packet that no hook saw: a sixth.

    On some machines the kernel runs no tracing program for moments of up to 15 ms.
    """
    return probes // 6


class Measurement:
    """A prober in a thread of its own inside `namespace`, from entering to leaving the block.

    Each peer is probed once in `interval_seconds`. The first `probes` outcomes of each are kept, and probing ends
    with the last of them, so that a test has a known number. With one probe each, no peer gets a second one if three
    quarters of the interval are longer than the time-out: the first round takes the first quarter.
    `linger_seconds` is how long `wait` waits for packets that come after the last outcome.
    """

    def __init__(
        self,
        namespace: Namespace,
        peers: Sequence[Peer],
        *,
        probes: int = 1,
        interval_seconds: float = 3.0,
        timeout_seconds: float = 1.0,
        linger_seconds: float = 0.0,
        open_source: Callable[[TableSize], Source] = TracepointSource,
        wall_clock: WallClock | None = None,
    ) -> None:
        self._namespace = namespace
        self._peers = peers
        self._probes = probes
        self._linger_seconds = linger_seconds
        self.outcomes: dict[tuple[Address, int], Outcome] = {}
        self._complete = threading.Event()
        with namespace.entered():
            self.source = open_source(TableSize(len(peers) * len(Family)))
        self.prober = Prober(
            self.source,
            node=NODE,
            interval_seconds=interval_seconds,
            timeout_seconds=timeout_seconds,
            max_peers=len(peers),
            feedback=FeedbackChannel.of(self.source, wall_clock),
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
        """Wait for all outcomes and return them by address and sequence."""
        seconds = DEADLINE_SECONDS
        assert self._complete.wait(seconds), f"{len(self.outcomes)} of {self.expected} outcomes after {seconds} s"
        time.sleep(self._linger_seconds)
        return self.outcomes

    def results(self) -> Counter[Result]:
        return Counter(outcome.result for outcome in self.outcomes.values())

    def unmatched(self) -> dict[str, int]:
        """Return the reasons whose count is not zero."""
        return {reason: count for reason, count in self.source.table.unmatched_packets().items() if count}

    def unexplained(self) -> dict[str, int]:
        """Return those reasons without the replies whose request no hook saw. `unseen` bounds how many these may be."""
        return {reason: count for reason, count in self.unmatched().items() if reason != "not_transmitted"}

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
