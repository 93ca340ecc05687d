"""Runs one program under one load and reads what it uses."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace

from bench.commanded_process import CommandedProcess
from bench.many_peers import PORT, Bed, forget_peak, resident
from bench.process_usage import Moment, map_bytes, wake_ups_between
from bench.scale_result import AgentState, Load, Measured, Usage
from bench.scale_tools import SCRAPE_SECONDS, Program, Running
from bench.scraper import CLASSIC, Client, Counters, PeriodicScraper, scrape_at_once
from testkit.waiting import wait_until

_WARM_UP_ROUNDS = 2  # probes to each target before anything is measured, or
_WARM_UP_SECONDS = 30.0  # this long, of a program that cannot send so many
_CALM_SECONDS = 1.0  # after a scrape of the text: by then, probes that it has delayed are sent
_PARALLEL_SCRAPES = 4
_MIB = 1 << 20


def measure(bed: Bed, load: Load, program: Program, seconds: float, peer_agents: CommandedProcess | None) -> Measured:
    """Run `program` and measure it for `seconds`; an agent without feedback for as long again, while it is scraped
    every second. `peer_agents` gives it feedback. Raises TimeoutError when it does not probe at all."""
    if peer_agents:
        peer_agents.ask("forget")  # they would go on asking the agent of the program before, for some seconds
    before = bed.echoes()
    with program.started(bed, load) as running:
        wait_until(lambda: bed.echoes() > before, f"{program.name} does not probe {load}", pause=0.1)
        with suppress(TimeoutError):
            enough = before + _WARM_UP_ROUNDS * load.targets
            wait_until(lambda: bed.echoes() >= enough, seconds=_WARM_UP_SECONDS, pause=0.1)
        if running.port == PORT:
            measured = _measured_agent(bed, running, seconds, peer_agents)
        else:
            measured = Measured(_usage(bed, running, seconds))
    for sent in running.sent:
        measured = Measured(replace(measured.usage, own_count=(sent, bed.echoes() - before)))
    return measured


def _usage(bed: Bed, running: Running, seconds: float) -> Usage:
    """Measure a running program while it is scraped as usual, if it serves metrics."""
    processes = running.processes
    for process in processes:
        forget_peak(process)
    scraper: AbstractContextManager[PeriodicScraper | None] = nullcontext()
    if running.port is not None:
        scraper = PeriodicScraper(bed.here.namespace, running.port, SCRAPE_SECONDS)
    with scraper as scraped:
        begin, echoes = Moment.of(*processes), bed.echoes()
        time.sleep(seconds)
        end, probes = Moment.of(*processes), bed.echoes() - echoes
    memory = sum(resident(process) for process in processes)
    return Usage(
        seconds=end.at - begin.at,
        probes=probes,
        processor_ns=end.processor_ns - begin.processor_ns,
        wake_ups=wake_ups_between(begin.wake_ups, end.wake_ups),
        resident=memory,
        peak=max(sum(resident(process, "VmHWM") for process in processes), memory),
        scrapes=tuple(scraped.seconds) if scraped else (),
        failed_scrapes=len(scraped.failures) if scraped else 0,
    )


def _measured_agent(bed: Bed, running: Running, seconds: float, peer_agents: CommandedProcess | None) -> Measured:
    """Measure an agent. The text that its counters are read from is scraped before and after, never within a window."""
    client = Client(bed.here.namespace, PORT)

    def counters() -> Counters:
        client.close()  # the server ends a connection that was idle for as long as a measurement may take
        return Counters.of(client.scrape(CLASSIC).content)

    try:
        given = peer_agents.ask("report") if peer_agents else None
        start = counters()
        time.sleep(_CALM_SECONDS)
        usage = _usage(bed, running, seconds)
        usual = end = counters()
        lag_scraped = None
        if peer_agents is None:
            with PeriodicScraper(bed.here.namespace, PORT, 1.0):
                time.sleep(seconds)
            end = counters()
            lag_scraped = _quantiles(end.since(usual))
    finally:
        client.close()
    (process,) = running.processes
    whole, before = end.since(start), resident(process)
    forget_peak(process)
    answers = scrape_at_once(bed.here.namespace, PORT, _PARALLEL_SCRAPES)
    return Measured(
        usage,
        AgentState(
            lag=_quantiles(usual.since(start)),
            lag_scraped=lag_scraped,
            skipped=whole.skipped,
            lost=whole.lost,
            rejected=whole.rejected,
            maps=map_bytes(process) / _MIB,
            growth=max(resident(process, "VmHWM") - before, 0),
            unanswered=sum(isinstance(answer, OSError) for answer in answers),
            reported=whole.network_rtts / max(whole.results.get("reply", 0), 1),
            naming=_part_naming(given, peer_agents.ask("report")) if given and peer_agents else 0.0,
        ),
    )


def _quantiles(counters: Counters) -> tuple[float, float]:
    return counters.lag(0.5), counters.lag(0.99)


def _part_naming(earlier: dict[str, int], later: dict[str, int]) -> float:
    """Return the part of the agent's probes that name a request of the peer. Raises RuntimeError on a full queue."""
    if later["dropped"]:
        raise RuntimeError(f"the peers' agents missed {later['dropped']} probes: this machine is too busy")
    return (later["naming"] - earlier["naming"]) / max(later["probes"] - earlier["probes"], 1)
