"""Clusters with few witnesses: where a name would be a guess, the answer is "undetermined", with candidates."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from monlat_ebpf.diagnosis.findings import Element, Kind, Part
from monlat_ebpf.model import Result
from tests.unit.diagnosis_windows import (
    NETWORK,
    USUAL_SECONDS,
    Cell,
    all_cells,
    decide,
    found,
    into,
    node,
    nodes,
    out_of,
    pair,
    window,
)

Lost = Mapping[Cell, Mapping[Result, int]]


@pytest.mark.parametrize("lost", [out_of("a", "ab", 15), into("a", "ab", 4), {("a", "b"): {NETWORK: 15}}])
def test_two_nodes_are_too_few_to_name_one(lost: Lost) -> None:
    """Either node may be the cause, or what is between them."""
    (finding,) = decide(window(nodes("ab"), lost)).findings
    assert finding.element == Element(Kind.UNDETERMINED, ("a", "b"))
    assert set(finding.candidates) == {node("a"), node("b"), pair("a", "b")}


def test_one_node_has_nothing_to_say() -> None:
    """No cell, no finding."""
    assert decide(window(nodes("a"))).findings == ()


def test_three_nodes_are_enough_for_one_node() -> None:
    """b and c both see a, and reach each other."""
    assert found(decide(window(nodes("abc"), out_of("a", "abc", 8)))) == {node("a"): {Part.OUT}}


def test_a_pair_needs_two_other_peers_at_both_ends() -> None:
    """Of three nodes, c alone reaches a and b: half of a node may be broken. Of four, two do."""
    cut = {("a", "b"): {NETWORK: 15}, ("b", "a"): {NETWORK: 15}}
    (finding,) = decide(window(nodes("abc"), cut)).findings
    assert finding.element.kind is Kind.UNDETERMINED
    assert set(finding.candidates) == {node("a"), node("b"), pair("a", "b")}
    assert found(decide(window(nodes("abcd"), cut))) == {pair("a", "b"): set()}


def test_one_of_the_two_pairs_between_two_zones() -> None:
    """a and e are 5 x as far from each other, b and e are not; c and d reach all. What is between x and z is likely.

    A fault between two zones may miss one of two pairs, so the pair is not 95 % sure.
    """
    zones = {"a": "x", "b": "x", "c": "y", "d": "y", "e": "z"}
    slow = {("a", "e"): 5 * USUAL_SECONDS, ("e", "a"): 5 * USUAL_SECONDS}
    (finding,) = decide(window(nodes("abcde", zones), rtt=slow)).findings
    assert finding.element.kind is Kind.UNDETERMINED
    assert set(finding.candidates) == {node("a"), node("e"), pair("a", "e"), Element(Kind.ZONE_PAIR, ("x", "z"))}
    assert found(decide(window(nodes("abcde"), rtt=slow))) == {pair("a", "e"): set()}  # without zones, it is


def test_a_zone_of_one_node_in_a_small_cluster() -> None:
    """Both pairs between zone x and the node of zone y are bad: 2 of the 3 pairs of that node. Either may be broken."""
    zones = {"a": "x", "b": "x", "c": "y", "d": "z"}
    lost = {cell: {NETWORK: 9} for cell in all_cells("abc") if "c" in cell}
    (finding,) = decide(window(nodes("abcd", zones), lost)).findings
    assert finding.element.kind is Kind.UNDETERMINED
    assert set(finding.candidates) == {node("c"), Element(Kind.ZONE_PAIR, ("x", "y"))}


def test_a_zone_of_one_node_that_has_no_other_pairs() -> None:
    """All pairs of the node of zone y are between x and y: the node is meant either way, and named."""
    zones = {"a": "x", "b": "x", "c": "x", "d": "y"}
    lost = {cell: {NETWORK: 9} for cell in all_cells("abcd") if "d" in cell}
    assert found(decide(window(nodes("abcd", zones), lost))) == {node("d"): set()}


def test_of_three_nodes_that_all_lose_packets_any_two_may_be_broken() -> None:
    """The set of faults is not known, so nothing is named."""
    report = decide(window(nodes("abc"), {cell: {NETWORK: 15} for cell in all_cells("abc")}, silent=""))
    assert {finding.element.kind for finding in report.findings} <= {Kind.UNDETERMINED, Kind.ZONE_PAIR}
    assert node("a") not in found(report)
