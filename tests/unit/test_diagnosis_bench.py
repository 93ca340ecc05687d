"""The parts of bench/diagnosis that its figures rest on: the graph, the faults, the rivals, the scores."""

from __future__ import annotations

from random import Random

import pytest

from bench.diagnosis_cluster import PROBES, Cluster, regular_graph
from bench.diagnosis_document import markdown, replaced
from bench.diagnosis_faults import KINDS, Broken, Effect, Ground, Mode, broken, is_undecidable
from bench.diagnosis_rivals import Observation, Observed, ObviousRule, Rival, SetCover, Settings, Voting
from bench.diagnosis_score import Score
from bench.diagnosis_trial import Course, Outcome, Setting, course
from monlat_ebpf.diagnosis.findings import Element, Kind, Part
from monlat_ebpf.model import Result
from tests.unit.diagnosis_windows import nodes, window

NAMES = "abcdefgh"
SEEN = window(nodes(NAMES, {name: "x" if name in "abcd" else "y" for name in NAMES}))
NODE_C = Element(Kind.NODE, ("c",))
PAIR = Element(Kind.PAIR, ("f", "h"))


def observation(*bad: tuple[str, str]) -> Observation:
    """Return all cells of eight nodes; the bad ones have lost 10 of 15 probes, both ways of each pair."""
    both = {*bad, *((other, one) for one, other in bad)}
    cells = [
        Observed(a, b, 10 if (one, other) in both else 0, 15, 0, 15)
        for a, one in enumerate(NAMES)
        for b, other in enumerate(NAMES)
        if a != b
    ]
    return Observation(SEEN, cells)


@pytest.mark.parametrize("rival", [ObviousRule, Voting, SetCover])
def test_rivals_name_one_bad_node(rival: type[Rival]) -> None:
    """All pairs of c are bad."""
    seen = observation(*(("c", name) for name in NAMES if name != "c"))
    assert set(rival(Settings(0.1, 0.2)).elements(seen)) == {NODE_C}


@pytest.mark.parametrize("rival", [ObviousRule, Voting, SetCover])
def test_rivals_have_the_rule_of_two_windows(rival: type[Rival]) -> None:
    """The same element with losses in two windows; with losses, then with long times, it does not open."""
    lossy = observation(*(("c", name) for name in NAMES if name != "c"))
    slow = Observation(SEEN, [cell._replace(lost=0, slow=cell.lost) for cell in lossy.cells])
    assert [rival(Settings(0.1, 0.2)).opened(lossy), rival(Settings(0.1, 0.2)).opened(slow)] == [set(), set()]
    for windows, expected in (((lossy, lossy), {NODE_C}), ((slow, slow), {NODE_C}), ((lossy, slow), set())):
        of_kind = rival(Settings(0.1, 0.2))
        assert [of_kind.opened(seen) for seen in windows][-1] == expected


@pytest.mark.parametrize(("rival", "expected"), [(ObviousRule, set()), (Voting, {PAIR}), (SetCover, {PAIR})])
def test_rivals_and_a_pair(rival: type[Rival], expected: set[Element]) -> None:
    """The obvious rule has no name for a pair: 1 of 7 cells of a row is too few."""
    assert set(rival(Settings(0.1, 0.25)).elements(observation(("f", "h")))) == expected


def test_votes_for_a_node_are_taken_back_from_its_peers() -> None:
    """c and a pair apart from it: 14 and 2 bad cells. No peer of c is named for the votes that c explains."""
    seen = observation(*(("c", name) for name in NAMES if name != "c"), ("f", "h"))
    assert list(Voting(Settings(0.1, 0.01)).elements(seen)) == [NODE_C, PAIR]


def test_set_cover_asks_for_a_hit_ratio() -> None:
    """4 of 7 pairs of c are bad: with a threshold of 0.5 it is c, with 0.6 four pairs."""
    seen = observation(*(("c", name) for name in "adeg"))
    assert set(SetCover(Settings(0.1, 0.5)).elements(seen)) == {NODE_C}
    assert {each.kind for each in SetCover(Settings(0.1, 0.6)).elements(seen)} == {Kind.PAIR}


@pytest.mark.parametrize(("size", "degree"), [(3, 2), (10, 4), (60, 16), (10, 16)])
def test_graph_is_symmetric_and_has_at_most_the_degree(size: int, degree: int) -> None:
    """Rings may share an edge; every node has two peers at least."""
    peers = regular_graph(size, degree, Random(1))
    assert all(node in peers[peer] for node in range(size) for peer in peers[node])
    assert all(2 <= len(each) <= max(degree, 2) and node not in each for node, each in enumerate(peers))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_does_something_to_the_cells_of_its_elements_only(kind: str) -> None:
    """Every effect is in a cell of a node, pair or zone pair of the truth."""
    cluster = Cluster("test", 12, 11)
    for mode, severity in ((Mode.LOSS, 0.5), (Mode.LATENCY, 3.0)):
        faults = broken(kind, mode, severity, cluster.ground, Random(2))
        assert faults.truth
        names, zones = cluster.ground.names, cluster.ground.zones
        for a, b in faults.effects:
            groups = [{names[a]}, {names[b]}, {names[a], names[b]}, {zones[a], zones[b]}]
            assert any(set(element.names) in groups for element in faults.truth)
        assert faults.effects or faults.dwell_delay or faults.skipped


def test_a_pair_that_is_broken_beside_a_node_is_broken_in_every_trial() -> None:
    """A node's fault reaches most of its pairs; one of a single pair reaches that, or it were none."""
    ground = Cluster("test", 12, 11).ground
    for seed in range(30):
        faults = broken("node and pair", Mode.LOSS, 0.5, ground, Random(seed))
        (pair,) = (element for element in faults.truth if element.kind is Kind.PAIR)
        one, other = map(ground.names.index, pair.names)
        assert (faults.effects[one, other].forward, faults.effects[one, other].back) == (0.5, 0.5)


def test_simulated_windows_have_the_loss_that_is_asked_for() -> None:
    """A node that loses 30 % of what it sends, give or take: 22 cells, five probes each, twelve windows."""
    cluster = Cluster("test", 12, 11)
    faults = broken("node out", Mode.LOSS, 0.3, cluster.ground, Random(3))
    (element,) = faults.truth
    node = cluster.ground.names.index(element.names[0])
    lost = ended = elsewhere = 0
    for _ in range(12):
        for sender, row in enumerate(cluster.window(faults).rows):
            for i, peer in enumerate(row.peers if row is not None else ()):
                assert row is not None
                of_cell = {result: counts[i] for result, counts in row.results.items()}
                assert sum(of_cell.values()) == PROBES
                assert row.network_rtt is not None
                assert row.network_rtt.counts()[i] == of_cell[Result.REPLY]
                if node in (sender, peer):
                    lost, ended = lost + PROBES - of_cell[Result.REPLY], ended + PROBES
                else:
                    elsewhere += PROBES - of_cell[Result.REPLY]
    assert 0.15 < lost / ended < 0.42
    assert elsewhere < 0.01 * 12 * 110 * PROBES


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("node in", Result.LOST_FORWARD),
        ("node out", Result.LOST_NETWORK),
        ("node both", Result.LOST_NETWORK),
        ("node stack", Result.LOST_NETWORK),
        ("pair both", Result.LOST_NETWORK),
    ],
)
def test_a_peer_of_which_nothing_arrives_reports_no_direction(kind: str, result: Result) -> None:
    """All packets are lost. Where the peer's requests arrive, they say that it has received none; else nobody does.

    A kernel that loses all packets loses the node's own requests too.
    """
    cluster = Cluster("test", 12, 11)
    faults = broken(kind, Mode.LOSS, 1.0, cluster.ground, Random(3))
    (element,) = faults.truth
    broken_nodes = {cluster.ground.names.index(name) for name in element.names}
    found = dict.fromkeys(Result, 0)
    for sender, row in enumerate(cluster.window(faults).rows):
        for i, peer in enumerate(row.peers if row is not None else ()):
            if row is not None and faults.effects.get((sender, peer)) and peer in broken_nodes:
                for each, counts in row.results.items():
                    found[each] += counts[i]
    assert found[result] == sum(found.values()) > 0


def test_a_starved_agent_counts_the_probes_to_all_peers() -> None:
    """Of five ticks some are skipped, each with a probe for each of 11 peers; those that are sent are late."""
    cluster = Cluster("test", 12, 11)
    faults = broken("starved agent", Mode.LOSS, 0.3, cluster.ground, Random(3))
    (element,) = faults.truth
    node = cluster.ground.names.index(element.names[0])
    row = next(row for _ in range(20) if (row := cluster.window(faults).rows[node]) and row.health.skipped)
    assert row.health.sent + row.health.skipped == PROBES * 11
    assert row.health.skipped % 11 == 0
    assert row.health.lag is not None
    assert row.health.lag.count == row.health.sent


def test_a_cluster_without_a_fault_is_nearly_without_losses() -> None:
    """3,000 windows of 20 cells: losses at random, in bursts, and no more than 1 in 1,000."""
    cluster = Cluster("test", 5, 4)
    windows = [cluster.window(Broken()) for _ in range(3000)]
    lost = sum(
        PROBES - replies
        for seen in windows
        for row in seen.rows
        if row is not None
        for replies in row.results[Result.REPLY]
    )
    assert 10 < lost < 300


def test_losses_in_a_host_are_in_the_noise() -> None:
    """3,000 windows of five nodes with four peers each: 3 to 12 full queues are likely, each with 4 of 20 probes lost.

    At random, 3,000 x 20 x 5 probes with a probability of 1e-4 give 30 more.
    """
    cluster = Cluster("test", 5, 4)
    lost = sum(
        sum(row.results.get(Result.LOST_HOST, ()))
        for _ in range(3000)
        for row in cluster.window(Broken()).rows
        if row is not None
    )
    assert 10 < lost < 100


def test_fault_is_named_from_the_second_window_until_it_closes() -> None:
    """A node that loses all that it sends: it closes in the third window without losses, so two have its name."""
    assert course(Setting("node out", Mode.LOSS, 1.0, 12, 11), "tune-1") == Course(named=2, after=2, false=0)


def test_scores_by_hand() -> None:
    """Three faults, two of them named, one of those with the wrong direction; two elements named falsely."""
    a, b, c, d, e = (Element(Kind.NODE, (name,)) for name in "abcde")
    out = frozenset({Part.OUT})
    first = Outcome({a: out, b: out}, opened={a: 2, c: 5, d: 9}, parts={a: out}, undetermined=1, undecidable=1)
    second = Outcome({e: out}, opened={e: 4}, parts={e: frozenset({Part.IN})})
    score = Score.of([first, second])
    assert (score.faults, score.right, score.false, score.abstained, score.undecidable) == (3, 2, 2, 1, 1)
    assert score.precision == 0.5
    assert score.recall == pytest.approx(2 / 3)
    assert (score.windows, score.directions) == (3, (1, 2, 2))


ABCD = Ground(list("abcd"), list("xxyz"), [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]], {})
ABC = Ground(list("abc"), list("xyz"), [[1, 2], [0, 2], [0, 1]], {})


@pytest.mark.parametrize(
    ("ground", "element", "reached", "expected"),
    [
        (ABCD, Element(Kind.NODE, ("a",)), {(0, 1), (1, 0), (0, 2)}, False),
        (ABCD, Element(Kind.NODE, ("a",)), {(0, 1), (1, 0)}, True),  # what is between a and b looks the same
        (ABCD, Element(Kind.PAIR, ("a", "b")), {(0, 1), (1, 0)}, False),
        (ABC, Element(Kind.PAIR, ("a", "b")), {(0, 1), (1, 0)}, True),  # c alone is left to tell a from the pair
        (ABCD, Element(Kind.ZONE_PAIR, ("x", "y")), {(0, 2), (1, 2)}, True),  # two of the three pairs of c
        (ABCD, Element(Kind.ZONE_PAIR, ("x", "y")), {(0, 2)}, True),
    ],
)
def test_faults_that_no_algorithm_can_name(
    ground: Ground, element: Element, reached: set[tuple[int, int]], expected: bool
) -> None:
    """The pairs that a fault reaches are those of another kind of fault, or they are not. An effect of 0 is none."""
    effects = {cell: Effect(forward=0.5) for cell in reached} | {(3, 2): Effect()}
    assert is_undecidable(Broken({element: None}, effects), ground) == expected


def test_a_section_of_a_document_is_replaced() -> None:
    """All between its marks, and nothing else."""
    table = markdown(("a", "b", "c"), [("1", "2", "3")])
    assert table == "| a | b | c |\n| --- | --- | ---: |\n| 1 | 2 | 3 |"
    text = "x\n<!-- one -->\nold\n<!-- end of one -->\n<!-- two -->\n<!-- end of two -->\n"
    new = "x\n<!-- one -->\nnew\n<!-- end of one -->\n<!-- two -->\n<!-- end of two -->\n"
    assert replaced(text, "one", "new") == new
    with pytest.raises(ValueError, match="no section"):
        replaced(text, "three", "new")
