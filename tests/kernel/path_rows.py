"""Measures all paths at once, and holds what came of it against ping and against the kernel's packet sockets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

from monlat_ebpf.abi import layout
from monlat_ebpf.errors import TestbedError
from monlat_ebpf.model import Family, Result
from monlat_ebpf.probing.ledger import Outcome
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.testbed.namespace import Namespace
from testkit.capture import Capture, Probe
from testkit.paths.ground import Device, Ends, Ground, Path
from tests.kernel.measuring import Measurement, unseen

PINGS = 7
LOST = re.compile(r"([\d.]+)% packet loss")
CLOCK_ERROR_NS = 1_000
"""Wall clock and CLOCK_MONOTONIC may run at rates that differ by 500 parts per million (adjtimex(2)), and round."""
WRONG_NS = 200_000
"""Queues of these paths hold a probe for milliseconds, and two hooks beside each other are microseconds apart."""
STAMPS = {layout.CONSTANTS["STAMPED_BY_DRIVER"]: "driver", layout.CONSTANTS["STAMPED_BY_STACK"]: "stack"}


@dataclass
class Row:
    """What came of one family of a path. `ping_loss` is the part that ping lost, from 0 to 1.

    `dwell_ns` is the time of a probe at the far end, by that end's own packet socket; `captured_ns` its RTT by the
    packet sockets on the devices where t1 and t4 are expected. Both are known for some paths only.
    """

    path: Path
    version: int
    ping_loss: float
    outcomes: Sequence[Outcome]
    duplicates: int
    dwell_ns: Mapping[int, int] = field(default_factory=dict)
    captured_ns: Mapping[int, int] = field(default_factory=dict)

    @property
    def results(self) -> Counter[Result]:
        return Counter(outcome.result for outcome in self.outcomes)

    @property
    def stamps(self) -> Counter[str]:
        return Counter(STAMPS[each.stamped_by] for each in self.outcomes if each.result is Result.REPLY)

    def _unseen(self, how: Result | str) -> int:
        """Return how many probes ended or were stamped as one whose packet no hook saw, if they are few enough."""
        return min(self.results[how] if isinstance(how, Result) else self.stamps[how], unseen(len(self.outcomes)))

    @property
    def rtts_ns(self) -> dict[int, int]:
        return {each.sequence: each.rtt_ns for each in self.outcomes if each.rtt_ns is not None}

    @property
    def above_dwell_ns(self) -> list[int]:
        """How much longer each RTT is than the far end took. It cannot be negative."""
        return [rtt - self.dwell_ns[number] for number, rtt in self.rtts_ns.items() if number in self.dwell_ns]

    @property
    def beside_capture_ns(self) -> list[int]:
        """How much longer each RTT is than that of the packet sockets."""
        return [rtt - self.captured_ns[number] for number, rtt in self.rtts_ns.items() if number in self.captured_ns]

    def lies(self) -> Iterator[str]:
        """Yield each way in which monlat was false."""
        replies = self.results[Result.REPLY]
        if self.ping_loss not in (0, 1):
            yield f"ping itself lost {self.ping_loss:.0%}"
        if self.ping_loss == 0 and replies < len(self.outcomes):
            yield f"false loss: {_text(self.results)}, and ping lost nothing"
        if self.ping_loss == 1 and replies:
            yield f"false success: {_text(self.results)}, and ping lost all"
        if self.duplicates:
            yield f"{self.duplicates} invented duplicates"
        if self.above_dwell_ns and min(self.above_dwell_ns) < -CLOCK_ERROR_NS:
            yield f"RTT {-min(self.above_dwell_ns)} ns shorter than the far end took"

    def faults(self, wrong_ns: int = WRONG_NS) -> Iterator[str]:
        """Yield each lie, and each other way in which the row is not what is known of its path.

        An RTT is wrong if it is further than `wrong_ns` from that of the packet sockets.
        """
        yield from self.lies()
        expected = self.path.results[self.version]
        if self.results[expected] < len(self.outcomes) - self._unseen(Result.LOST_HOST):
            yield f"results: {_text(self.results)}, expected {expected.value}"
        stamp = "stack" if self.version in self.path.by_stack else "driver"
        allowed = self._unseen("stack") if stamp == "driver" else 0
        if self.stamps[stamp] < self.results[Result.REPLY] - allowed:
            yield f"stamps: {dict(self.stamps)}, expected {stamp}"
        known = sum(each.rtt_ns is not None for each in self.outcomes)
        if self.version in self.path.without_rtt:
            is_wrong = known > 0
        else:
            is_wrong = known < self.results[Result.REPLY] - unseen(len(self.outcomes))
        if is_wrong:
            yield f"{known} of {self.results[Result.REPLY]} replies with an RTT"
        if self.beside_capture_ns and abs(median(self.beside_capture_ns)) > wrong_ns:
            yield f"RTT beside the packet sockets': {median(self.beside_capture_ns) / 1e6:.3f} ms"


@dataclass(frozen=True)
class Measured:
    """A row for each family of each path, the unmatched packets of all by reason, and why a path was not built."""

    rows: Sequence[Row]
    unmatched: Mapping[str, int]
    unbuilt: Mapping[str, str]


def _text(results: Counter[Result]) -> str:
    return ", ".join(f"{count} {result.value}" for result, count in results.items())


@contextmanager
def agents_namespace() -> Iterator[Namespace]:
    """A namespace that drops no packet for its source, unless a path wants it."""
    with Namespace("near") as near:
        for each in ("all", "default"):
            near.sysctl(f"net.ipv4.conf.{each}.rp_filter", 0)
        yield near


def measure(
    paths: Sequence[Path], probes: int, *, interval_seconds: float = 0.1, timeout_seconds: float = 0.5
) -> Measured:
    """Build all paths at once and measure them.

    A path with "two agents" in its name is measured by two agents at once; its rows have the outcomes of both.
    """
    with ExitStack() as stack:
        near = stack.enter_context(agents_namespace())
        built: list[tuple[Path, Ends]] = []
        unbuilt: dict[str, str] = {}
        for number, path in enumerate(paths, start=1):
            ground = Ground(near, number, path.name, stack.enter_context(ExitStack()))
            try:
                built.append((path, path.build(ground)))
                ground.wait()
            except (AssertionError, TestbedError) as error:
                unbuilt[path.name] = str(error)
        captures = {device: stack.enter_context(Capture(device.namespace, device.name)) for device in _devices(built)}
        peers = [ends.peer for _, ends in built]
        pinging = stack.enter_context(ThreadPoolExecutor(4))
        agents = [
            Measurement(near, each, probes=probes, interval_seconds=interval_seconds, timeout_seconds=timeout_seconds)
            for each in (peers, [ends.peer for path, ends in built if "two agents" in path.name])
            if each
        ]
        for agent in agents:
            stack.enter_context(agent)
        losses: dict[tuple[str, int], Future[float]] = {
            (peer.name, address.version): pinging.submit(_ping_loss, near, str(address), timeout_seconds)
            for peer in peers
            for address in peer.addresses
        }
        for agent in agents:
            agent.wait()
        for future in losses.values():
            future.result()
        for capture in captures.values():
            capture.read()
        rows = [row for path, ends in built for row in _rows(path, ends, agents, captures, losses)]
        return Measured(rows, _unmatched(agents), unbuilt)


def _devices(built: Sequence[tuple[Path, Ends]]) -> set[Device]:
    return {device for _, ends in built for device in (ends.sent, ends.received, ends.far) if device is not None}


def _ping_loss(namespace: Namespace, address: str, timeout_seconds: float) -> float:
    done = namespace.run(["ping", "-n", "-c", str(PINGS), "-i", "0.05", "-W", str(timeout_seconds), address])
    percent = LOST.findall(done.stdout)
    assert percent or done.returncode, done.stdout
    return float(percent[0]) / 100 if percent else 1  # it gives up where the system call fails


def _unmatched(agents: Sequence[Measurement]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for agent in agents:
        total.update(agent.unmatched())
    return dict(total)


def _rows(
    path: Path,
    ends: Ends,
    agents: Sequence[Measurement],
    captures: Mapping[Device, Capture],
    losses: Mapping[tuple[str, int], Future[float]],
) -> Iterator[Row]:
    """Yield the row of each family. The first agent's outcomes alone have a dwell and a captured RTT."""
    source = agents[0].source
    assert isinstance(source, TracepointSource)
    for address in ends.peer.addresses:
        outcomes = [[outcome for (to, _), outcome in agent.outcomes.items() if to == address] for agent in agents]
        family = Family.of(address)
        duplicates = sum(
            pair.duplicates
            for agent in agents
            for pair in agent.pairs()
            if (pair.to, pair.family) == (ends.peer.name, family)
        )
        row = Row(path, address.version, losses[ends.peer.name, address.version].result(), [], duplicates)
        row.outcomes = [each for of_agent in outcomes for each in of_agent]
        if len(outcomes[0]) == len(row.outcomes):  # numbers are of one agent
            row.dwell_ns = _of(_dwell(ends, captures), address.version, source.identifier)
            row.captured_ns = _of(_captured(ends, captures), address.version, source.identifier)
        yield row


def _of(times: Mapping[Probe, int], version: int, identifier: int) -> dict[int, int]:
    wanted = (version, identifier)
    return {probe.sequence: time for probe, time in times.items() if (probe.version, probe.identifier) == wanted}


def _dwell(ends: Ends, captures: Mapping[Device, Capture]) -> Mapping[Probe, int]:
    if ends.answerer is not None:
        return ends.answerer.dwell_ns
    if ends.far is None:
        return {}
    return _between(captures[ends.far].requests(sent=False), captures[ends.far].replies(sent=True))


def _captured(ends: Ends, captures: Mapping[Device, Capture]) -> Mapping[Probe, int]:
    if ends.sent is None or ends.received is None:
        return {}
    return _between(captures[ends.sent].requests(sent=True), captures[ends.received].replies(sent=False))


def _between(first: Mapping[Probe, int], last: Mapping[Probe, int]) -> dict[Probe, int]:
    return {probe: last[probe] - at for probe, at in first.items() if probe in last}
