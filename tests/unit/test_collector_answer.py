"""The collector's check of an agent's answer: what it keeps, and that nothing that is wrong gets through."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monlat_ebpf.collector.answer import Row, parse_row
from monlat_ebpf.collector.detail import parse_detail
from monlat_ebpf.collector.fetch import AskError, Failure
from tests.unit.fake_agent import answer, pair, probe

KNOWN = frozenset({"node1", "node2", "node3", "node4"})
NO_RTT = {"last": None, "p50": None, "p99": None, "min": None, "max": None}
NO_RESULTS = dict.fromkeys(
    ("reply", "lost_network", "lost_forward", "lost_return", "lost_host", "unreachable", "send_error"), 0
)


def parse(document: Any) -> Row:
    return parse_row(json.dumps(document).encode(), "node1", KNOWN)


def failure_of(body: bytes) -> tuple[Failure, str]:
    with pytest.raises(AskError) as caught:
        parse_row(body, "node1", KNOWN)
    return caught.value.failure, str(caught.value)


def test_numbers_of_a_pair_are_kept_in_its_column() -> None:
    """The RTT exactly, other times in single precision; 4 of 23 probes are lost, 3 in the network, 1 unreachable."""
    row = parse(answer(pair("node3", rtt_seconds=NO_RTT), pair("node2")))
    assert row.to == ("node3", "node2")
    assert row.states == b"lm"
    assert row.values["rtt"][1] == 43.1e-6
    assert math.isnan(row.values["rtt"][0])
    assert row.values["rtt_p99"][1] == pytest.approx(1.274e-3, rel=1e-7)
    assert row.values["network_rtt"][1] == pytest.approx(13.1e-6, rel=1e-7)
    assert row.values["dwell"][1] == pytest.approx(30e-6, rel=1e-7)
    assert row.values["clock_offset"][1] == pytest.approx(-2.0005e-3, rel=1e-7)
    assert {name: counts[1] for name, counts in row.counters.items()} == {
        **{"ended": 23, "host": 0, "forward": 0, "return": 0, "network": 3, "unreachable": 1}
    }
    assert row.zone == "a"


def test_first_family_that_answers_is_the_pair() -> None:
    """As in latency_between_nodes: IPv6 where IPv4 is lost, and the first family where none answers."""
    lost = {"rtt_seconds": NO_RTT}
    row = parse(
        answer(
            pair("node2", **lost),
            pair("node2", family="ipv6", rtt_seconds={**NO_RTT, "last": 2e-3}),
            pair("node3", **lost, peer_dwell_seconds=1e-3),
            pair("node3", family="ipv6", **lost, peer_dwell_seconds=7e-3),
        )
    )
    assert row.to == ("node2", "node3")
    assert row.states == b"ml"
    assert row.values["rtt"][0] == 2e-3
    assert row.values["dwell"][1] == pytest.approx(1e-3)


def test_pair_without_an_ended_probe_is_not_probed() -> None:
    """A probe in flight is no loss."""
    row = parse(answer(pair("node2", rtt_seconds=NO_RTT, results=NO_RESULTS, sent=1, in_flight=1)))
    assert row.states == b"n"


def test_unknown_nodes_targets_and_the_node_itself_have_no_column() -> None:
    """A liar cannot make cells, and hosts without an agent are no nodes."""
    row = parse(answer(pair("stranger"), pair("node3", kind="target"), pair("node1"), pair("node2")))
    assert row.to == ("node2",)


@pytest.mark.parametrize(
    ("body", "failure", "text"),
    [
        (b"", Failure.INVALID, "not JSON"),
        (b"\xff{}", Failure.INVALID, "not JSON"),
        (b'{"node": "node1", "pairs": [', Failure.INVALID, "not JSON"),
        (b"[" * 100_000, Failure.INVALID, "not JSON"),
        (b"[]", Failure.INVALID, "not a JSON object"),
        (b'{"node": "node1"}', Failure.INVALID, "pairs is not a list"),
        (b'{"node": "node1", "pairs": [7]}', Failure.INVALID, "pairs[0] is not an object"),
        (b'{"pairs": []}', Failure.WRONG_NODE, "'None'"),
        (b'{"node": "node2", "pairs": []}', Failure.WRONG_NODE, "'node2'"),
        (b'{"node": ["node1"], "pairs": []}', Failure.WRONG_NODE, "node1"),
    ],
)
def test_answer_that_is_none_has_a_reason(body: bytes, failure: Failure, text: str) -> None:
    """Each failure is of the reason that the metric counts, and the text says what was found."""
    found, reason = failure_of(body)
    assert found is failure
    assert text in reason


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rtt_seconds": None}, "rtt_seconds.last"),
        ({"rtt_seconds": {"last": 1.0}}, "rtt_seconds.p50"),
        ({"rtt_seconds": {**NO_RTT, "last": -1e-9}}, "rtt_seconds.last is '-1e-09'"),
        ({"rtt_seconds": {**NO_RTT, "last": True}}, "'True'"),
        ({"rtt_seconds": {**NO_RTT, "last": "fast"}}, "'fast'"),
        ({"rtt_seconds": {**NO_RTT, "last": math.nan}}, "'nan'"),
        ({"rtt_seconds": {**NO_RTT, "last": math.inf}}, "'inf'"),
        ({"rtt_seconds": {**NO_RTT, "p50": 10**400}}, "rtt_seconds.p50"),
        ({"peer_dwell_seconds": [1]}, "peer_dwell_seconds"),
        ({"results": {**NO_RESULTS, "reply": -1}}, "reply is '-1'"),
        ({"results": {**NO_RESULTS, "reply": 1.5}}, "reply is '1.5'"),
        ({"results": {"reply": 1}}, "lost_network"),
        ({"results": []}, "reply"),
        ({"from_zone": "a\nb"}, "from_zone"),
    ],
)
def test_wrong_value_fails_the_whole_answer_and_is_named(changes: dict[str, Any], text: str) -> None:
    """Half an answer is not used."""
    body = json.dumps(answer(pair("node2", **changes), pair("node3"))).encode()
    found, reason = failure_of(body)
    assert found is Failure.INVALID
    assert text in reason


def test_row_of_another_node_within_the_answer_is_a_lie() -> None:
    """The name at the top does not make the pairs those of the node."""
    body = json.dumps(answer(pair("node3"), pair("node2", **{"from": "node4"}))).encode()
    found, reason = failure_of(body)
    assert found is Failure.WRONG_NODE
    assert "'node4' at pairs[1]" in reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(value=JSON, key=st.sampled_from(sorted(pair("node2"))), where=st.sampled_from(["pair", "agent", "probe"]))
def test_any_value_in_any_field_is_used_or_rejected(value: Any, key: str, where: str) -> None:
    """No answer raises anything but AskError, and a row that is made holds only numbers in range."""
    probes = [probe(1), {**probe(2), key: value} if where == "probe" else probe(2)]
    changed = {key: value} if where == "pair" else {}
    document = answer({**pair("node2", probes=probes), **changed})
    if where == "agent":
        document = {**document, "pairs" if key == "from" else "source": value, key: value}
    body = json.dumps(document).encode()
    try:
        row = parse_row(body, "node1", KNOWN)
    except AskError:
        pass
    else:
        assert set(row.to) <= KNOWN - {"node1"}
        assert len(row.states) == len(row.to) == len(row.values["rtt"]) == len(row.counters["ended"])
        assert all(rtt >= 0 or math.isnan(rtt) for rtt in row.values["rtt"])
    try:
        detail = parse_detail(body, "node1", "node2")
    except AskError:
        pass
    else:
        assert all(set(family) > {"probes", "rtt_seconds"} for family in detail["families"])
