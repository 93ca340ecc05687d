"""The diagnosis of a cluster, one closed window after another. Pure: no input or output, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from monlat_ebpf.diagnosis.accounts import Fault, take_out
from monlat_ebpf.diagnosis.agents import silent_agents, starved_agents
from monlat_ebpf.diagnosis.findings import Element, Finding, Kind, Part, Symptom, explains
from monlat_ebpf.diagnosis.history import LossHistory
from monlat_ebpf.diagnosis.hysteresis import Diagnosis, Hysteresis
from monlat_ebpf.diagnosis.likelihood import at_most
from monlat_ebpf.diagnosis.localization import faults_of
from monlat_ebpf.diagnosis.past import Judged, Past, judge_and_learn, judge_network, rises
from monlat_ebpf.diagnosis.tables import (
    LEAST_BACKGROUND,
    Table,
    host_loss_table,
    learned_background,
    loss_table,
    slow_table,
)
from monlat_ebpf.diagnosis.window import Window
from monlat_ebpf.diagnosis.witnesses import finding

RECENT: Final = 3
"""The fewest windows that can show that a fault with few losses has ended; longer times are looked at, too."""
UNFIT: Final = 6
"""Windows, from the one in which an agent was short of CPU, in which it is no witness: it is seldom short in each."""
ENDED: Final = 0.01
"""It has ended when so few losses, or fewer, have this probability in them."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is known after a window. `number` counts windows from 1; `findings` are of this window alone."""

    number: int
    findings: tuple[Finding, ...]
    diagnoses: tuple[Diagnosis, ...]


class Diagnoser:
    """Decides once for each closed window. It keeps the past of all cells, and the courses of diagnoses."""

    def __init__(self) -> None:
        self._number = 0
        self._network, self._rtt, self._dwell = Past(), Past(), Past()
        self._loss_background = self._host_background = LEAST_BACKGROUND
        self._history, self._host_history = LossHistory(), LossHistory()
        self._hysteresis = Hysteresis()
        self._starved: dict[str, int] = {}
        """The number of the last window in which an agent was short of CPU."""

    def decide(self, window: Window) -> Report:
        """Take in a closed window and return what is known after it."""
        self._number += 1
        for past in (self._network, self._rtt, self._dwell):
            past.follow(window)
        starved = starved_agents(window)
        unfit = self._unfit(window, starved)
        zones = list(window.zone_ranges().values())
        findings = [
            *starved.values(),
            *silent_agents(window),
            *self._losses(window, unfit, zones),
            *self._host_losses(window, unfit, zones),
            *self._slow(window, unfit, zones),
        ]
        zone_of = {node.name: node.zone for node in window.nodes}
        merged = tuple(_merged(findings, zone_of))
        return Report(self._number, merged, self._hysteresis.update(self._number, merged, zone_of))

    def _unfit(self, window: Window, starved: Iterable[int]) -> frozenset[int]:
        """Return the nodes whose agents are no witnesses, as indices."""
        names = [node.name for node in window.nodes]
        self._starved |= {names[index]: self._number for index in starved}
        self._starved = {name: last for name, last in self._starved.items() if self._number - last < UNFIT}
        return frozenset(index for index, name in enumerate(names) if name in self._starved)

    def _losses(self, window: Window, unfit: frozenset[int], zones: list[range]) -> Iterator[Finding]:
        table = loss_table(window, unfit, self._loss_background)
        yield from _lost(window, zones, table, self._history)
        self._loss_background = learned_background(self._loss_background, table)

    def _host_losses(self, window: Window, unfit: frozenset[int], zones: list[range]) -> Iterator[Finding]:
        table = host_loss_table(window, unfit, self._host_background)
        yield from _lost(window, zones, table, self._host_history)
        self._host_background = learned_background(self._host_background, table)

    def _slow(self, window: Window, unfit: frozenset[int], zones: list[range]) -> Iterator[Finding]:
        network: dict[int, Judged] = {}
        dwell: dict[int, Judged] = {}
        for index, row in enumerate(window.rows):
            if row is None or index in unfit:
                continue
            name = window.nodes[index].name
            network[index] = judge_network(self._network, self._rtt, name, row)
            if row.dwell is not None:
                dwell[index] = judge_and_learn(self._dwell.row(name, row.peers), row.dwell)
        for symptom, judged in ((Symptom.SLOW, network), (Symptom.DWELL, dwell)):
            for fault in faults_of(slow_table(window, judged, symptom), zones):
                yield finding(fault, symptom, 1, window, rises=partial(_rises, judged))


def _lost(window: Window, zones: list[range], table: Table, history: LossHistory) -> Iterator[Finding]:
    """Find what loses packets in this window, then what does so in several; take its cells out of `table`."""
    history.add(window, table)
    latest = table.copy()
    explained = faults_of(table, zones)
    for fault in explained:
        yield finding(fault, table.symptom, 1, window, losses=partial(history.losses, windows=1))
    for span in history.spans():
        several = history.table(latest, span)
        for fault in explained:
            take_out(fault, several)
        found = faults_of(several, zones)
        explained += found
        for fault in found:
            if _goes_on(fault, latest, history, span):
                yield finding(fault, table.symptom, span, window, losses=partial(history.losses, windows=span))
                take_out(fault, table)


def _goes_on(fault: Fault, latest: Table, history: LossHistory, windows: int) -> bool:
    """Return whether the last windows still have the losses that `windows` have shown.

    They are compared with the rate of the fault, and with as many windows before them: what was lost at once, and has
    ended, is a low rate only when it is spread over many windows.
    """
    lost = history.lost((sender, peer) for sender, _, peer, _ in fault.cells)
    trials = sum(latest.trials[sender][position] for sender, position in fault.cells.positions())
    for recent in range(RECENT, windows):
        now, before = sum(lost[:recent]), sum(lost[recent : 2 * recent])
        if at_most(now, recent * trials, fault.rate) <= ENDED or at_most(now, now + before, 0.5) <= ENDED:
            return False
    return True


def _rises(judged: Mapping[int, Judged], sender: int, position: int) -> tuple[float, float]:
    return rises(judged[sender], position)


def _merged(findings: Iterable[Finding], zones: Mapping[str, str]) -> Iterator[Finding]:
    """Join the symptoms of each element, and leave out pairs that the fault of a node or a zone pair explains."""
    by_element: dict[Element, list[Finding]] = {}
    for each in findings:
        by_element.setdefault(each.element, []).append(each)
    for element, same in by_element.items():
        if element.kind is Kind.PAIR and any(explains(other, element, zones) for other in by_element):
            continue
        parts: frozenset[Part] = frozenset().union(*(each.parts for each in same))
        evidence = tuple(piece for each in same for piece in each.evidence)
        candidates = tuple(sorted({candidate for each in same for candidate in each.candidates}))
        yield Finding(element, parts, max(each.confidence for each in same), evidence, candidates)
