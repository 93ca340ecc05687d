"""What bench/scale makes of what it has measured: shares and multiples, a table, a picture, and claims."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from bench.many_peers import addresses_of
from bench.scale_claims import judge
from bench.scale_picture import picture
from bench.scale_result import FPING, MONLAT, SMOKEPING, AgentState, Load, Measured, Result, Usage, markdown
from bench.scale_tools import fping_options, peers_of, sent_by_fping

FPING_OUTPUT = """\
[11:02:03]
10.64.0.1 : xmt/rcv/%loss = 15/15/0%, min/avg/max = 0.012/0.024/0.085
fd64::1   : xmt/rcv/%loss = 15/14/6%, min/avg/max = 0.013/0.025/0.086
[11:02:18]
10.64.0.1 : xmt/rcv/%loss = 16/16/0%, min/avg/max = 0.012/0.024/0.085
fd64::1   : xmt/rcv/%loss = 15/15/0%, min/avg/max = 0.013/0.025/0.086

10.64.0.1 : xmt/rcv/%loss = 37/37/0%, min/avg/max = 0.012/0.024/0.085
fd64::1   : xmt/rcv/%loss = 36/35/2%, min/avg/max = 0.013/0.025/0.086
"""


def test_fping_counts_its_whole_life_in_the_last_line_of_a_target() -> None:
    """37 and 36 probes in all: what the summaries of 15 s say is part of that."""
    assert sent_by_fping(FPING_OUTPUT) == 73


@pytest.mark.parametrize(
    ("targets", "spread", "spacing"), [(10, 0.8, "80"), (1_000, 0.8, "0.8"), (10_000, 0.8, "0.08"), (1_000, 0, "0")]
)
def test_fping_spreads_its_probes_over_a_part_of_the_period(targets: int, spread: float, spacing: str) -> None:
    """-i is 1,000 ms times the part, divided by the targets."""
    assert fping_options(targets, spread).endswith(f"-i {spacing}")


def test_peers_have_an_address_of_each_family() -> None:
    """The 300th peer's addresses end where 300 more than the first one's do, and a dual load has twice the targets."""
    assert addresses_of(299) == ("10.64.1.44",)
    assert addresses_of(299, is_dual=True) == ("10.64.1.44", "fd64::12c")
    assert peers_of(Load(2, is_dual=True)) == [("10.64.0.1", "fd64::1"), ("10.64.0.2", "fd64::2")]
    assert (Load(2).targets, Load(2, is_dual=True).targets) == (2, 4)


def usage(core: float, *, targets: int, resident: float = 30.0) -> Usage:
    """Return what a program used that took `core` per cent for 10 s, and sent all its probes."""
    return Usage(10.0, targets * 10, round(core * 1e8), 50, resident, resident + 1)


STATE = AgentState((0.001, 0.002), (0.001, 0.0039), 0, 0, 0, maps=1.5, growth=2.0)
FED = replace(STATE, lag_scraped=None, reported=0.99, naming=0.99)


def result_of(load: Load, ours: float, fping: float, state: AgentState = STATE, resident: float = 30.0) -> Result:
    rounds = {
        (load, MONLAT): [Measured(usage(ours, targets=load.targets, resident=resident), state)],
        (load, FPING): [Measured(replace(usage(fping, targets=load.targets), own_count=(317, 317)))],
    }
    return Result({MONLAT: "1", FPING: "5.1"}, [load], rounds, "here")


def test_usage_is_a_share_and_a_time_of_a_probe() -> None:
    """2.5 % of a core for 10 s are 250 ms: 25 us for each of 10,000 probes."""
    found = usage(2.5, targets=1_000)
    assert (found.core, found.per_probe, found.rate, found.wake_rate) == (2.5, 25.0, 1_000.0, 5.0)
    assert replace(found, probes=0).per_probe == math.inf


@pytest.mark.parametrize(
    ("load", "ours", "status"),
    [
        (Load(100), 3.9, 0),
        (Load(100), 4.1, 1),
        (Load(1000), 2.4, 0),
        (Load(1000), 2.6, 1),
        (Load(5000), 1.9, 0),
        (Load(5000), 2.1, 1),
        (Load(10), 50.0, 0),
        (Load(5000, is_dual=True), 50.0, 0),
    ],
    ids=str,
)
def test_cost_is_claimed_as_a_multiple_of_fpings(load: Load, ours: float, status: int) -> None:
    """fping takes 1 %; nothing is claimed of 10 peers, nor of two addresses each."""
    assert judge(result_of(load, ours, 1.0)) == status


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (FED, 0),
        (replace(FED, reported=0.94), 1),
        (replace(FED, naming=0.94), 1),
        (replace(FED, rejected=1), 1),
        (replace(FED, lost=1), 1),
    ],
    ids=["all", "few network RTTs", "few reports of ours", "rejected", "lost"],
)
def test_feedback_must_be_real(state: AgentState, status: int) -> None:
    """3.9 times fping's cost with feedback holds only if the feedback was used and given."""
    assert judge(result_of(Load(1000, has_feedback=True), 3.9, 1.0, state)) == status
    assert judge(result_of(Load(1000, has_feedback=True), 4.1, 1.0, state)) == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 0),
        ({"skipped": 1}, 1),
        ({"lost": 1}, 1),
        ({"lag_scraped": (0.001, 0.0078)}, 1),
        ({"growth": 10.1}, 1),
        ({"unanswered": 1}, 1),
        ({"lag": (0.1, 0.2)}, 0),
    ],
    ids=str,
)
def test_claims_about_the_agent(change: dict[str, object], status: int) -> None:
    """No probe skipped, none lost, lag under 5 ms while scraped every second, 10 MiB for parallel scrapes."""
    assert judge(result_of(Load(10), 1.0, 1.0, replace(STATE, **change))) == status  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peers", "resident", "status"), [(3, 35.9, 0), (3, 36.1, 1), (1000, 48.1, 1), (5000, 96.1, 1), (100, 500, 0)]
)
def test_memory_is_claimed_for_three_sizes(peers: int, resident: float, status: int) -> None:
    """36 MiB with 3 peers, 48 with 1,000, 96 with 5,000."""
    assert judge(result_of(Load(peers), 0.9, 1.0, resident=resident)) == status


@pytest.mark.parametrize("program", [MONLAT, FPING])
def test_program_that_sends_too_little_fails(program: str) -> None:
    """An eighth of the probes was not sent: a low cost of the others is no result. A round of ten may be missing."""
    result = result_of(Load(100), 1.0, 1.0)
    measured = result.rounds[Load(100), program][0]
    for probes, status in ((900, 0), (875, 1)):
        short = replace(measured, usage=replace(measured.usage, probes=probes))
        assert judge(replace(result, rounds={**result.rounds, (Load(100), program): [short]})) == status


@pytest.mark.parametrize(("own_count", "status"), [((317, 326), 0), ((317, 327), 1), ((327, 317), 1)])
def test_count_of_fping_that_the_peers_do_not_share_fails(own_count: tuple[int, int], status: int) -> None:
    """Nine probes may have been in flight when fping was interrupted; ten more or fewer fail."""
    result = result_of(Load(100), 1.0, 1.0)
    counted = Measured(replace(usage(1.0, targets=100), own_count=own_count))
    assert judge(replace(result, rounds={**result.rounds, (Load(100), FPING): [counted]})) == status


def test_rounds_are_compared_with_each_other() -> None:
    """Ratios of 2, 3 and 10: the median is 3, whatever the machine did in the third round."""
    load = Load(1000)
    rounds = {
        (load, MONLAT): [Measured(usage(core, targets=1000), STATE) for core in (2.0, 6.0, 40.0)],
        (load, FPING): [Measured(usage(core, targets=1000)) for core in (1.0, 2.0, 4.0)],
    }
    result = Result({MONLAT: "1", FPING: "5.1"}, [load], rounds, "here")
    assert result.multiple(load) == 3.0
    usual = result.usual(load, MONLAT)
    assert usual is not None
    assert usual.usage.core == 6.0
    assert result.multiple(Load(7)) is None
    assert result.usual(load, SMOKEPING) is None


def test_unsent_probes_make_nothing_cheaper() -> None:
    """monlat took twice fping's time for half of the probes: each cost four times as much."""
    result = result_of(Load(1000), 2.0, 1.0)
    half = Measured(replace(usage(2.0, targets=1000), probes=5_000), STATE)
    assert replace(result, rounds={**result.rounds, (Load(1000), MONLAT): [half]}).multiple(Load(1000)) == 4.0


def test_table_has_a_line_a_load() -> None:
    """Shares and times of all programs, the multiple, and what only the agent tells."""
    result = result_of(Load(1000, has_feedback=True), 3.0, 1.2, FED)
    assert (
        "| 1,000 peers, feedback | 3.00 %, 30 µs | 1.20 %, 12 µs | 2.5 | 30 MiB | 1.5 MiB | 5 | ≤ 2 ms | 0 | 0 |"
        in markdown(result).splitlines()
    )


def test_table_tells_how_much_a_program_sent_that_could_not_send_all() -> None:
    """800 of 1,000 probes in 10 s."""
    result = result_of(Load(100), 1.0, 2.0)
    short = Measured(replace(usage(2.0, targets=100), probes=800))
    assert "2.00 %, 250 µs (80% sent) |" in markdown(
        replace(result, rounds={**result.rounds, (Load(100), FPING): [short]})
    )


def test_picture_has_a_line_a_program_and_none_of_dual_stack() -> None:
    """Two programs at two sizes, and monlat with feedback at one: three lines, five points; names do not touch."""
    loads = [Load(100), Load(1000), Load(1000, has_feedback=True), Load(1000, is_dual=True)]
    rounds = {
        (load, program): result.rounds[load, program]
        for load in loads
        for result in [result_of(load, load.peers / 300, load.peers / 310)]
        for program in ((MONLAT,) if load.has_feedback else (MONLAT, FPING))
    }
    drawn = ElementTree.fromstring(  # noqa: S314  # the picture is ours
        picture(Result({MONLAT: "1", FPING: "5.1"}, loads, rounds, "a < b"))
    )
    name = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f"{name}polyline")) == 3
    assert len(drawn.findall(f"{name}circle")) == 5
    names = [each for each in drawn.findall(f"{name}text") if (each.text or "").startswith((MONLAT, FPING))]
    heights = sorted(float(each.attrib["y"]) for each in names if ":" in (each.text or ""))
    assert len(heights) == 3
    assert all(lower - upper >= 16 for upper, lower in pairwise(heights))
