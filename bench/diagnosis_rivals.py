"""Other ways to name what is broken, for bench/diagnosis: the obvious rule, and two published algorithms.

They get the same windows and the same past of each pair, and the same hysteresis. What each calls a bad cell, and how
much of an element must be bad, is tuned on the seeds for tuning.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from monlat_ebpf.diagnosis.findings import Element, Evidence, Finding, Kind, Symptom
from monlat_ebpf.diagnosis.hysteresis import Hysteresis, State
from monlat_ebpf.diagnosis.past import Past, judge_network
from monlat_ebpf.diagnosis.window import Node, Window
from monlat_ebpf.model import Result


class Observed(NamedTuple):
    """A cell as the rivals see it: lost and ended probes, slow ones and those with a time."""

    sender: int
    peer: int
    lost: int
    ended: int
    slow: int
    timed: int

    def symptoms(self, bad_loss: float) -> list[Symptom]:
        """Return what makes it bad: more than `bad_loss` of the probes lost, or half of the samples slow."""
        found = [Symptom.LOSS] if self.lost and self.lost > bad_loss * self.ended else []
        return [*found, Symptom.SLOW] if 2 * self.slow > self.timed > 0 else found


class Observation:
    """The cells of a window, and what all rivals count of them: once, however many settings are tried."""

    def __init__(self, window: Window, cells: list[Observed]) -> None:
        self.window = window
        self.cells = cells
        self._bad: dict[float, list[Observed]] = {}

    def bad(self, bad_loss: float) -> list[Observed]:
        """Return the cells that lose more than `bad_loss` of their probes, or of whose samples half are slow."""
        if bad_loss not in self._bad:
            self._bad[bad_loss] = [cell for cell in self.cells if cell.symptoms(bad_loss)]
        return self._bad[bad_loss]

    def symptoms(self, bad_loss: float) -> Mapping[Element, Set[Symptom]]:
        """Return what the bad cells of each element show."""
        nodes, found = self.window.nodes, defaultdict[Element, set[Symptom]](set)
        for cell in self.bad(bad_loss):
            for element in path(nodes[cell.sender], nodes[cell.peer]):
                found[element].update(cell.symptoms(bad_loss))
        return found

    @cached_property
    def sizes(self) -> Counter[Element]:
        """How many cells see each element."""
        nodes = self.window.nodes
        return Counter(element for cell in self.cells for element in path(nodes[cell.sender], nodes[cell.peer]))

    @cached_property
    def lines(self) -> Counter[tuple[str, int]]:
        """How many cells are in each row and column."""
        return Counter(line for cell in self.cells for line in (("row", cell.sender), ("column", cell.peer)))


class Observer:
    """Turns windows into observations: one for all rivals, so that all see the same."""

    def __init__(self) -> None:
        self._network, self._rtt = Past(), Past()

    def observe(self, window: Window) -> Observation:
        self._network.follow(window)
        self._rtt.follow(window)
        found = []
        for sender, row in enumerate(window.rows):
            if row is None:
                continue
            judged = judge_network(self._network, self._rtt, window.nodes[sender].name, row)
            ended = [sum(counts) for counts in zip(*row.results.values(), strict=True)]
            replies = row.results[Result.REPLY]
            found += [
                Observed(sender, peer, all_ended - answered, all_ended, slow, timed)
                for peer, all_ended, answered, slow, timed in zip(
                    row.peers, ended, replies, judged.slow, judged.trials, strict=True
                )
            ]
        return Observation(window, found)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is tuned: which loss makes a cell bad, and how much of an element (of all votes) must be bad."""

    bad_loss: float
    threshold: float


class Rival(ABC):
    """An algorithm that names elements from the cells of one window."""

    name: str

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._hysteresis = Hysteresis()
        self._number = 0

    @abstractmethod
    def elements(self, seen: Observation) -> Iterable[Element]:
        """Return what is broken in this window."""

    def opened(self, seen: Observation) -> set[Element]:
        """Take in a window; return the elements that are open after it."""
        self._number += 1
        symptoms = seen.symptoms(self.settings.bad_loss)
        findings = [
            Finding(element, frozenset(), 1.0, tuple(Evidence(each, 0, 0, 0, 0) for each in symptoms[element]))
            for element in self.elements(seen)
        ]
        zones = {node.name: node.zone for node in seen.window.nodes}
        diagnoses = self._hysteresis.update(self._number, findings, zones)
        return {each.finding.element for each in diagnoses if each.state is not State.SUSPECTED}


class ObviousRule(Rival):
    """Name the node of the worst row or column, if enough of its cells are bad."""

    name = "worst row or column"

    def elements(self, seen: Observation) -> Iterator[Element]:
        bad = Counter(
            line for cell in seen.bad(self.settings.bad_loss) for line in (("row", cell.sender), ("column", cell.peer))
        )
        if bad:
            worst = max(bad, key=lambda line: bad[line] / seen.lines[line])
            if bad[worst] >= self.settings.threshold * seen.lines[worst]:
                yield Element(Kind.NODE, (seen.window.nodes[worst[1]].name,))


@lru_cache(maxsize=1 << 18)
def path(one: Node, other: Node) -> tuple[Element, Element, Element, Element]:
    """Return what a probe passes: its node, what lies between the zones and between the nodes, and the peer."""
    return (
        Element(Kind.NODE, (one.name,)),
        Element(Kind.ZONE_PAIR, (min(one.zone, other.zone), max(one.zone, other.zone))),
        Element(Kind.PAIR, (min(one.name, other.name), max(one.name, other.name))),
        Element(Kind.NODE, (other.name,)),
    )


class Voting(Rival):
    """007: each flow with a lost packet gives each link of its path 1/h of a vote, h being the path's length.

    Arzani et al., "007: Democratically Finding the Cause of Packet Drops", NSDI 2018, algorithm 1: the link with most
    votes is named and the votes that its flows gave to others are taken back, while a link has more than a threshold
    (there 1 %) of all votes. A flow is a bad cell here. Its path is known exactly, so nothing need be estimated.
    Of links with equally many votes, a pair is preferred.
    """

    name = "007 (votes)"

    def elements(self, seen: Observation) -> Iterator[Element]:
        nodes = seen.window.nodes
        flows = [path(nodes[cell.sender], nodes[cell.peer]) for cell in seen.bad(self.settings.bad_loss)]
        through: dict[Element, set[int]] = defaultdict(set)
        for number, links in enumerate(flows):
            for link in links:
                through[link].add(number)
        votes = {link: len(numbers) / 4 for link, numbers in through.items()}
        least = self.settings.threshold * sum(votes.values())
        while votes:
            worst = max(votes, key=lambda link: (votes[link], link.kind is Kind.PAIR))
            if votes[worst] < least or votes[worst] <= 0:
                return
            yield worst
            for number in list(through[worst]):
                for link in flows[number]:
                    through[link].discard(number)
                    if link in votes:
                        votes[link] -= 1 / 4
            del votes[worst]


class SetCover(Rival):
    """SCORE: the fewest risk groups that explain all bad observations, found greedily.

    Kompella, Yates, Greenberg, Snoeren, "IP Fault Localization via Risk Modeling", NSDI 2005: of the groups whose hit
    ratio (the part of a group that is bad) is over a threshold, take the one with the greatest coverage ratio (its part
    of the bad observations), take those out, and repeat. Groups are nodes, zone pairs and pairs.
    """

    name = "SCORE (set cover)"

    def elements(self, seen: Observation) -> Iterator[Element]:
        nodes, size = seen.window.nodes, seen.sizes
        covered: dict[Element, set[int]] = defaultdict(set)
        for number, cell in enumerate(seen.bad(self.settings.bad_loss)):
            for group in path(nodes[cell.sender], nodes[cell.peer]):
                covered[group].add(number)
        groups = {group: bad for group, bad in covered.items() if len(bad) >= self.settings.threshold * size[group]}
        while groups:
            best = max(groups, key=lambda group: (len(groups[group]), len(groups[group]) / size[group]))
            explained = groups.pop(best)
            if not explained:
                return
            yield best
            groups = {group: bad - explained for group, bad in groups.items()}


CHOICES: Mapping[type[Rival], Sequence[Settings]] = {
    ObviousRule: [Settings(loss, part) for loss in (0.0, 0.04, 0.15) for part in (0.3, 0.5, 0.8)],
    Voting: [Settings(loss, part) for loss in (0.0, 0.04, 0.15) for part in (0.01, 0.05, 0.15)],
    SetCover: [Settings(loss, part) for loss in (0.0, 0.04, 0.15) for part in (0.5, 0.7, 0.9)],
}
