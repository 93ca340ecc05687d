"""A load on the measuring process does not change the RTT. `bench/independence` compares other tools, and tails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from bench.loads import SharedLimit, saturation
from bench.probing_process import ProbingProcess
from bench.report import quantile
from testkit.pair import Pair

BLOCKS = (53, 53, 53)  # idle and loaded in turn, so that other work on this machine meets both alike
PROBES = sum(BLOCKS)
FEWEST = 0.8  # part of the probes: a process without a core may send one too late for its time-out
BOUND = 10
"""Loaded 0.9-quantile by the idle one. It is below 2 on a quiet machine, and some 100 with stamps of user space."""
PERIOD_US = 20_000  # a fifth of Kubernetes' own, so that the prober gets a turn 50 times a second

LOADS: dict[str, Callable[[ProbingProcess], AbstractContextManager[object]]] = {
    "busy thread": lambda process: process.busy(),
    "5 % of a core": lambda process: SharedLimit(process.pid, 0.05, PERIOD_US),
    "all cores saturated": lambda _process: saturation(),
}


@pytest.mark.parametrize("load", LOADS)
def test_load_on_the_prober_does_not_show_in_the_rtt(load: str) -> None:
    """Of 159 idle and 159 loaded probes, the loaded 0.9-quantile is under 10 times the idle one."""
    idle: list[int] = []
    loaded: list[int] = []
    with Pair() as (here, there), ProbingProcess(here.namespace, "monlat", there.ipv4) as process:
        for probes in BLOCKS:
            idle += process.probe(probes)
            with LOADS[load](process):
                loaded += process.probe(probes)
    assert min(len(idle), len(loaded)) >= FEWEST * PROBES
    assert quantile(loaded, 0.9) < BOUND * quantile(idle, 0.9)
