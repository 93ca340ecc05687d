"""The sums of bench/diagnosis: outcomes of many trials as precision, recall, time; and the tuning of the rivals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.diagnosis_rivals import CHOICES, Rival, Settings
from bench.diagnosis_trial import Outcome, label


@dataclass(frozen=True, slots=True)
class Score:
    """The sums of outcomes. Precision is 1 when nothing was named, recall when nothing was at fault.

    `windows` is the median time to the diagnosis, None when there was none. `directions` is (right, said, could be
    said).
    """

    faults: int
    right: int
    false: int
    abstained: int
    undecidable: int
    windows: float | None
    directions: tuple[int, int, int]

    @staticmethod
    def of(outcomes: Iterable[Outcome]) -> Score:
        every = list(outcomes)
        times = [each.opened[element] for each in every for element in each.truth if element in each.opened]
        right, said, possible = (sum(column) for column in zip(*(each.right_parts() for each in every), strict=True))
        return Score(
            faults=sum(len(each.truth) for each in every),
            right=sum(each.right for each in every),
            false=sum(each.false for each in every),
            abstained=sum(each.abstained for each in every),
            undecidable=sum(each.undecidable for each in every),
            windows=median(times) if times else None,
            directions=(right, said, possible),
        )

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.false) if self.right + self.false else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.faults if self.faults else 1.0

    @property
    def both(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-9)

    def cells(self, *, is_ours: bool) -> tuple[str, ...]:
        """Return the row of a table. Only ours abstains and says directions."""
        right, said, possible = self.directions
        return (
            f"{self.precision:.3f}",
            f"{self.recall:.3f}",
            str(self.false),
            str(self.abstained) if is_ours else "",
            str(self.undecidable) if is_ours else "",
            "never" if self.windows is None else f"{self.windows:g}",
            f"{right} of {said} of {possible}" if is_ours and possible else "",
            str(self.faults),
        )


ALL_CHOICES: Sequence[tuple[type[Rival], Settings]] = [
    (kind, settings) for kind, choices in CHOICES.items() for settings in choices
]


def tuned(outcomes: Sequence[Mapping[str, Outcome]]) -> list[tuple[type[Rival], Settings]]:
    """Return for each rival the settings with the best mean of precision and recall, of trials with all settings."""
    return [
        (
            kind,
            max(choices, key=lambda settings: Score.of(each[label(kind, settings)] for each in outcomes).both),
        )
        for kind, choices in CHOICES.items()
    ]
