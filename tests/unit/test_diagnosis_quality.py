"""bench/diagnosis in small: the errors of the diagnosis have bounds. Seeds of the half for tuning, always the same."""

from __future__ import annotations

import pytest

from bench.diagnosis_faults import KINDS, Mode
from bench.diagnosis_score import Score
from bench.diagnosis_trial import OURS, Outcome, Setting, quiet, trial

SEVERITIES = ((Mode.LOSS, 0.05), (Mode.LOSS, 0.2), (Mode.LATENCY, 2.0))
STARVED = ((Mode.LOSS, 0.3),)


def outcomes(size: int, degree: int, *seeds: str) -> list[Outcome]:
    """Return what is named of each kind of fault."""
    return [
        trial(Setting(kind, mode, severity, size, degree), seed, ())[OURS]
        for kind in KINDS
        for mode, severity in (STARVED if kind == "starved agent" else SEVERITIES)
        for seed in seeds
    ]


def test_faults_are_named_and_nothing_else() -> None:
    """18 nodes that all probe each other: precision of 0.95 and recall of 0.9, within five windows."""
    score = Score.of(outcomes(18, 17, "tune-1"))
    assert score.faults == 3 * 7 + 2 * 3 * 2 + 1  # seven kinds of one fault, two of two, and an agent
    assert score.precision >= 0.95
    assert score.recall >= 0.9
    assert score.windows is not None
    assert score.windows <= 5


def test_few_losses_of_one_direction_of_one_pair_are_named() -> None:
    """A pair loses 5 % of its ten probes in a window: one in every second window. It is named within 40 of them."""
    setting = Setting("pair one way", Mode.LOSS, 0.05, 100, 16)
    score = Score.of(trial(setting, f"tune-{seed}", ())[OURS] for seed in range(6))
    assert (score.right, score.false) == (6, 0)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_in_a_small_cluster_little_is_named_wrongly(size: int) -> None:
    """Many faults cannot be told apart there; they are undetermined, not named wrongly."""
    score = Score.of(outcomes(size, size - 1, "tune-1", "tune-2"))
    assert score.false <= 0.1 * score.faults
    assert score.right + score.abstained >= 0.7 * score.faults


def test_nothing_is_named_in_a_cluster_without_a_fault() -> None:
    """20 nodes for 6 hours, with restarts, a rolling one among them, and nodes that come and go."""
    result = quiet(20, 19, "tune-1", 1440, ())
    assert result.opened[OURS] == 0, result.what
