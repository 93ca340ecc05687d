"""The interface of the tools that are compared: each is started, loaded, and then gives one sample a probe."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from monlat_ebpf.testbed.namespace import Namespace

KERNEL = "kernel"
USER = "user space"

TIMEOUT_SECONDS = 1.0  # of every tool that has the option; monlat's is shorter with a short interval (see there)


@dataclass(frozen=True)
class Task:
    """Probe each of `targets` `count` times, once in `interval_seconds`, or for `seconds` if those are over sooner."""

    targets: tuple[str, ...]
    count: int
    interval_seconds: float
    seconds: float


class Sample(NamedTuple):
    """The RTT that a tool gives for the `nth` probe, from 0, that it sent to `address`."""

    address: str
    nth: int
    rtt_ns: int


class Run(Protocol):
    """A process of the tool with its task, which it may have begun already."""

    @property
    def pid(self) -> int:
        """The process that a limit is put on."""

    def rendering(self) -> AbstractContextManager[object]:
        """Let metrics be rendered without pause for the block; only of a tool that `renders`."""

    def work(self) -> None:
        """Let the task be done."""

    def samples(self) -> list[Sample]:
        """Return the samples, after `work`; those of earlier and later probes may be among them."""


class Tool(Protocol):
    """A program. `stamps` says who takes the time of the request, and who of the reply."""

    @property
    def name(self) -> str: ...
    @property
    def stamps(self) -> tuple[str, str]: ...
    @property
    def renders(self) -> bool:
        """Whether it serves metrics."""

    def version(self) -> str: ...
    def started(self, namespace: Namespace, task: Task) -> AbstractContextManager[Run]:
        """Start it in `namespace`; it is gone after the block."""


class NoMetrics:
    """For a Run of a tool that renders nothing."""

    def rendering(self) -> AbstractContextManager[object]:
        raise AssertionError("this tool has no metrics")
