"""The number does not depend on how the measuring process fares: `bench/independence` compares other tools."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from bench.loads import SharedLimit, saturation
from bench.probing_process import ProbingProcess
from bench.report import quantile
from testkit.pair import Pair

BLOCKS = (167, 167, 165)  # idle and loaded in turn, so that whatever else the machine does meets both alike
PROBES = 499
BOUND = 3
PERIOD_US = 20_000  # a fifth of Kubernetes' own, so that the prober gets a turn 50 times a second

LOADS: dict[str, Callable[[ProbingProcess], AbstractContextManager[object]]] = {
    "busy thread": lambda process: process.busy(),
    "5 % of a core": lambda process: SharedLimit(process.pid, 0.05, PERIOD_US),
    "all cores saturated": lambda _process: saturation(),
}


@pytest.mark.parametrize("load", LOADS)
def test_load_on_the_prober_does_not_show_in_the_rtt(load: str) -> None:
    """Of 499 idle and 499 loaded probes all are answered, and the loaded p99 is under 3 times the idle one."""
    idle: list[int] = []
    loaded: list[int] = []
    with Pair() as (here, there), ProbingProcess(here.namespace, "monlat", there.ipv4) as process:
        for probes in BLOCKS:
            idle += process.probe(probes)
            with LOADS[load](process):
                loaded += process.probe(probes)
    assert (len(idle), len(loaded)) == (PROBES, PROBES)
    assert quantile(loaded, 0.99) < BOUND * quantile(idle, 0.99)
