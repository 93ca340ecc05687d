"""Agents that are no witnesses: short of CPU, or without an answer. Pure.

An agent that runs too rarely is the main cause of false alarms in systems that probe from hosts (Liu et al.,
"R-Pingmesh: A Service-Aware RoCE Network Monitoring and Diagnostic System", SIGCOMM 2024). So what it says of its peers
is left out, and the agent itself is named. Its node may be at fault besides: its peers still see that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from monlat_ebpf.abi.histogram import bucket_of
from monlat_ebpf.diagnosis.elements import FEWEST_WITNESSES
from monlat_ebpf.diagnosis.findings import Element, Evidence, Finding, Kind, Part, Symptom
from monlat_ebpf.diagnosis.likelihood import at_least
from monlat_ebpf.diagnosis.window import Health, Window
from monlat_ebpf.model import Result

SKIPPED_RATE: Final = 0.05
LATE_NS: Final = 100_000_000
"""A probe that is sent later than this after its time is late: a tenth of the default interval."""
LATE_RATE: Final = 0.25
CHANCE_RATE: Final = 0.01
"""The part of probes that are skipped or late on a healthy machine, at most."""
SIGNIFICANT: Final = 1e-6
"""An agent is starved when chance gives so many skipped or late probes in fewer windows than this."""
REACHABLE_RATE: Final = 0.8
"""A node that answers this part of its peers' probes is up."""
MOST_SILENT: Final = 8
"""More agents than this without an answer are one undetermined fault: the asker may be cut off."""


def starvation(health: Health) -> list[Evidence]:
    """Return what shows that an agent is short of CPU; nothing when it is not."""
    due = health.sent + health.skipped
    counts = [(Symptom.SKIPPED, health.skipped, due, SKIPPED_RATE)]
    if health.lag is not None:
        late = sum(health.lag.buckets[bucket_of(LATE_NS) + 1 :])
        counts.append((Symptom.LATE, late, health.lag.count, LATE_RATE))
    return [
        Evidence(symptom, 1, 1, shown, trials)
        for symptom, shown, trials, rate in counts
        if shown and shown >= rate * trials and at_least(shown, trials, CHANCE_RATE) < SIGNIFICANT
    ]


def starved_agents(window: Window) -> dict[int, Finding]:
    """Return the agents that are short of CPU, by the index of their node."""
    found = {}
    for index, row in enumerate(window.rows):
        evidence = [] if row is None else starvation(row.health)
        if evidence:
            element = Element(Kind.AGENT, (window.nodes[index].name,))
            chance = min(at_least(each.shown, each.trials, CHANCE_RATE) for each in evidence)
            found[index] = Finding(element, frozenset({Part.STARVED}), min(1 - chance, 0.999), tuple(evidence))
    return found


def silent_agents(window: Window) -> list[Finding]:
    """Return the agents that did not answer though their nodes answer the probes of their peers."""
    silent = [index for index, row in enumerate(window.rows) if row is None]
    if len(silent) > MOST_SILENT and 2 * len(silent) > len(window.nodes):
        names = tuple(sorted(window.nodes[index].name for index in silent))
        evidence = Evidence(Symptom.NO_ANSWER, len(silent), len(window.nodes), len(silent), len(window.nodes))
        return [Finding(Element(Kind.UNDETERMINED, names), frozenset(), 0.0, (evidence,))]
    found = []
    for index in silent:
        answered = list(_answers(window, index))
        reached = sum(replies >= REACHABLE_RATE * ended for replies, ended in answered)
        if len(answered) >= FEWEST_WITNESSES and reached >= REACHABLE_RATE * len(answered):
            replies, ended = (sum(column) for column in zip(*answered, strict=True))
            evidence = Evidence(Symptom.NO_ANSWER, reached, len(answered), replies, ended)
            element = Element(Kind.AGENT, (window.nodes[index].name,))
            found.append(Finding(element, frozenset({Part.SILENT}), reached / len(answered), (evidence,)))
    return found


def _answers(window: Window, index: int) -> Iterator[tuple[int, int]]:
    """Yield (replies, ended) of the probes of each peer to the node.

    Probes that were sent count as ended: of a node that has just been cut off, no loss is known yet.
    """
    for row in window.rows:
        position = None if row is None else row.position(index)
        if row is not None and position is not None:
            ended = sum(counts[position] for counts in row.results.values())
            if row.sent is not None:
                ended = max(ended, row.sent[position])
            if ended:
                yield row.results[Result.REPLY][position] if Result.REPLY in row.results else 0, ended
