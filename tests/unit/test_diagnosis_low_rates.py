"""Losses that are too few for one window, or in one window alone: what opens, and when it closes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from monlat_ebpf.diagnosis.diagnoser import Diagnoser
from monlat_ebpf.diagnosis.findings import Element, Evidence, Part, Symptom
from monlat_ebpf.diagnosis.hysteresis import State
from monlat_ebpf.diagnosis.past import LEARNED
from monlat_ebpf.diagnosis.window import Window
from monlat_ebpf.model import Result
from tests.unit.diagnosis_windows import (
    FORWARD,
    NAMES,
    NETWORK,
    RETURN,
    USUAL_SECONDS,
    ZONES,
    decide,
    found,
    node,
    nodes,
    pair,
    window,
)


def named(windows: Iterable[Window]) -> list[list[Element]]:
    """Return what is open or closing after each window."""
    diagnoser = Diagnoser()
    return [
        [each.finding.element for each in diagnoser.decide(seen).diagnoses if each.state is not State.SUSPECTED]
        for seen in windows
    ]


@pytest.mark.parametrize("probes", [1, 2])
def test_under_one_probe_a_window_a_loss_is_not_invented(probes: int) -> None:
    """One loss of one or two probes, in two windows in a row, is a ratio of 50 % to 100 %, and opens nothing."""
    seen = window(nodes(NAMES), {("n0", "n1"): {NETWORK: 1}}, probes=probes)
    quiet = window(nodes(NAMES), probes=probes)
    diagnoser = Diagnoser()
    for each in [quiet] * LEARNED + [seen, seen]:
        report = diagnoser.decide(each)
        assert [each for each in report.diagnoses if each.state is State.OPEN] == []


def test_a_low_rate_is_found_in_several_windows() -> None:
    """A pair that loses one probe in 15: chance in one window, a fault when it goes on. It opens, and closes after."""
    of = nodes(NAMES, ZONES)
    lossy = window(of, {("n1", "n2"): {FORWARD: 1}, ("n2", "n1"): {RETURN: 1}})
    opened = named([window(of)] * LEARNED + [lossy] * 8 + [window(of)] * 8)
    assert opened[: LEARNED + 2] == [[]] * (LEARNED + 2)
    assert opened[LEARNED + 7] == [pair("n1", "n2")]
    assert opened[-1] == []


def test_a_very_low_rate_is_found_in_many_windows() -> None:
    """A pair that loses a packet in every third window, of 30 probes: 3 losses in 8 windows are still chance.

    It is named within 32 windows, and two windows without a loss are no end of it. At a loss in three windows, 14
    without one come by chance once in a hundred times (e^-4.67): then it has ended, and three windows later it is gone.
    """
    of = nodes(NAMES, ZONES)
    quiet, lossy = window(of), window(of, {("n1", "n2"): {FORWARD: 1}})
    opened = named([quiet] * LEARNED + [lossy, quiet, quiet] * 20 + [quiet] * 15)
    during, after = opened[LEARNED : LEARNED + 60], opened[LEARNED + 60 :]
    assert during[:8] == [[]] * 8
    assert during[32:] == [[pair("n1", "n2")]] * 28
    assert after[-1] == []


def test_losses_of_two_bad_windows_are_no_low_rate() -> None:
    """A pair that lost all probes in two windows is gone five windows later: it is none that loses 3 %."""
    of = nodes(NAMES, ZONES)
    cut = window(of, {("n1", "n2"): {NETWORK: 15}, ("n2", "n1"): {NETWORK: 15}})
    opened = named([window(of)] * LEARNED + [cut] * 2 + [window(of)] * 32)
    assert opened[LEARNED + 1] == [pair("n1", "n2")]
    assert opened[LEARNED + 2 + 4 :] == [[]] * 28


def test_a_low_rate_in_a_host_is_found_in_several_windows() -> None:
    """A host that loses one probe in 15 to two of its eight peers, other two in each window: 1.7 % of all.

    In 8 windows each peer lost two, without its worst window one: 8 of 8 * 7 * 15. It is never taken for chance.
    """
    of = nodes(NAMES, ZONES)
    others = [name for name in NAMES if name != "n4"]
    lossy = [
        window(of, {("n4", others[(2 * number + i) % 8]): {Result.LOST_HOST: 1} for i in range(2)})
        for number in range(60)
    ]
    diagnoser = Diagnoser()
    for seen in [window(of)] * LEARNED + lossy:
        report = diagnoser.decide(seen)
    (diagnosis,) = report.diagnoses
    assert (diagnosis.state, diagnosis.finding.element) == (State.OPEN, node("n4"))
    assert diagnosis.finding.parts == {Part.STACK}
    assert diagnosis.finding.evidence == (
        Evidence(Symptom.HOST_LOSS, seen_by=8, witnesses=8, shown=8, trials=840, windows=8),
    )


@pytest.mark.parametrize("result", [NETWORK, Result.LOST_HOST])
def test_a_burst_opens_nothing(result: Result) -> None:
    """All probes of a pair lost in one window."""
    of = nodes(NAMES, ZONES)
    burst = window(of, {("n1", "n2"): {result: 15}, ("n2", "n1"): {result: 15}})
    diagnoser = Diagnoser()
    for seen in [window(of)] * LEARNED + [burst] + [window(of)] * 10:
        states = {each.state for each in diagnoser.decide(seen).diagnoses}
        assert states <= {State.SUSPECTED}


def test_a_burst_and_a_slow_window_after_it_open_nothing() -> None:
    """Two events of a pair, each found in its window."""
    of = nodes(NAMES, ZONES)
    both = [("n1", "n2"), ("n2", "n1")]
    burst = window(of, {cell: {NETWORK: 9} for cell in both})
    slow = window(of, rtt=dict.fromkeys(both, 3 * USUAL_SECONDS))
    report = decide(burst, slow)
    assert set(found(report)) == {pair("n1", "n2")}
    assert [each.state for each in report.diagnoses] == [State.SUSPECTED]
