"""`monlat explain`: bars, tables and prose as data, and the command in a pipe and in a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, cast

import pytest

from monlat_ebpf.cli import explain_text
from monlat_ebpf.cli.diagnosis import Part
from monlat_ebpf.cli.explain import is_loopback
from monlat_ebpf.cli.rendering import Table
from monlat_ebpf.cli.screen import as_text
from monlat_ebpf.errors import AgentUnreachable, UnknownPeer
from monlat_ebpf.exposition.api import AgentDocument
from monlat_ebpf.exposition.client import ask_about
from monlat_ebpf.exposition.peer_detail import ExplainedPairDocument, ProbeDocument
from tests.unit.fake_agent import answer, pair, probe, serving
from tests.unit.terminal import in_a_terminal

PROGRAM = [sys.executable, "-m", "monlat_ebpf", "explain"]
LOST = {"rtt_us": None, "dwell_us": None, "network_us": None, "forward_us": None, "return_us": None}
UNTOLD = {"dwell_us": None, "network_us": None, "forward_us": None, "return_us": None}
HERE = {"address": "127.0.0.1", "device": "lo"}  # of which every machine knows the route


def waterfall_of(*probes: dict[str, Any]) -> Table:
    return explain_text.waterfall([cast(ProbeDocument, each) for each in probes])


def explained(*probes: dict[str, Any], **changes: Any) -> ExplainedPairDocument:
    return cast(ExplainedPairDocument, pair("node2", probes=list(probes), **changes))


AGENT = cast(AgentDocument, answer())


def in_a_pipe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "TZ": "UTC"}
    )


@pytest.mark.parametrize(
    ("lengths", "longest", "drawn"),
    [
        ({"s": 80.0, "f": 10.0, "d": 30.0, "r": 20.0}, 140.0, "s" * 9 + "f" + "d" * 4 + "r" * 2),
        ({"s": 80.0, "n": 60.0}, 280.0, "s" * 5 + "n" * 3),
        ({"s": 0.4, "n": 139.6}, 140.0, "n" * 16),
        ({"s": 0.0}, 140.0, ""),
        ({"s": 80.0}, 0.0, ""),
    ],
)
def test_a_bar_is_as_long_as_its_time_beside_the_longest(lengths: dict[str, float], longest: float, drawn: str) -> None:
    """16 letters for the longest: 80 of 140 us end at 9.1, 90 at 10.3, 120 at 13.7, 140 at 16."""
    assert explain_text.bar(lengths.items(), longest, width=16) == drawn


def test_waterfall_has_a_row_a_probe() -> None:
    """A told probe, one that nobody told of, a lost one, one with a direction below nothing by the clock's error."""
    table = waterfall_of(
        probe(7),
        probe(8, **UNTOLD),
        probe(9, result="lost_return", **LOST),
        probe(10, forward_us=-1.5, return_us=31.5),
    )
    lines = as_text(table).splitlines()
    assert lines[0] == "the last 4 probes, ms"
    assert lines[1].split() == [
        *("SENT", "PROBE", "RESULT", "SEND", "DELAY", "FORWARD", "DWELL", "RETURN", "RTT", "WHERE"),
    ]
    rows = [line.split()[1:] for line in lines[2:]]
    # 32 letters for 140 us: 80 end at 18.3, 90 at 20.6, 120 at 27.4
    assert rows[0] == [
        "7",
        "reply",
        "0.080",
        "0.010",
        "0.030",
        "0.020",
        "0.060",
        "s" * 18 + "f" * 3 + "d" * 6 + "r" * 5,
    ]
    assert rows[1] == ["8", "reply", "0.080", "-", "-", "-", "0.060", "s" * 18 + "n" * 14]
    assert rows[2] == ["9", "lost", "back", "0.080", "-", "-", "-", "-", "s" * 18]
    assert rows[3] == ["10", "reply", "0.080", "-0.0015", "0.030", "0.032", "0.060", "s" * 18 + "d" * 7 + "r" * 7]


def test_no_probes_are_a_head_without_rows() -> None:
    """A pair that was just made."""
    assert len(as_text(waterfall_of()).splitlines()) == 2


def test_spread_stands_beside_what_is_usual() -> None:
    """Of send delays 80, 80 and 110 us the median is 80; with RTTs of 60 user space would have said 140, 140, 170."""
    table = explain_text.spread(AGENT, explained(probe(1), probe(2, **UNTOLD), probe(3, send_delay_us=110.0)))
    assert as_text(table).splitlines()[1:] == [
        "MS                MEDIAN  LARGEST  USUAL P50  USUAL P99",
        "send delay         0.080    0.110      0.080      0.290",
        "RTT                0.060    0.060      0.050       1.27",
        "  network RTT      0.030    0.030      0.015      0.900",
        "    forward        0.010    0.010          -          -",
        "    return         0.020    0.020          -          -",
        "  dwell            0.030    0.030          -          -",
        "send delay + RTT   0.140    0.170          -          -",
    ]


def test_notes_tell_losses_route_clock_and_what_user_space_would_say() -> None:
    """4 of 23 lost; the clock is behind, and its error is the directions' too."""
    assert explain_text.notes(explained(), "via 10.0.0.254 dev bond0 src 10.0.0.1") == [
        "lost: 4 of 23, 17.4%: network 3, unreachable 1",
        "route: via 10.0.0.254 dev bond0 src 10.0.0.1; handed to the driver of eth0",
        "clock of node2: 2.00 ms behind ours, ± 0.010 ms; forward and return are split by it, "
        "so each is known to ± 0.010 ms, their sum exactly",
        "A prober in user space would have said send delay + RTT, and the wake-up of its reader on top: "
        "`monlat ping 10.0.0.2` measures that.",
    ]


def test_notes_say_when_the_peer_tells_nothing() -> None:
    """No agent there, no loss, no route asked for, nothing sent yet."""
    quiet = explained(lost=0, replies=0, device="", clock_offset_ms=None, clock_offset_error_ms=None)
    assert explain_text.notes(quiet, "")[:2] == [
        "lost: none of 0",
        "dwell, network RTT and directions are not known: no agent at the peer tells of our probes",
    ]


def test_the_diagnosis_compares_with_what_the_agent_calls_usual() -> None:
    """A dwell of 60 ms where 0.0502 - 0.0152 = 0.035 ms are usual; with queueing there is a direction to name."""
    slow = explained(*[probe(number, rtt_us=60_030.0, dwell_us=60_000.0) for number in range(5)])
    found = explain_text.judge(AGENT, slow)
    assert found.risen is Part.DWELL
    assert "60.0 ms (usually 35.0 µs)" in found.text
    far = explained(probe(1, rtt_us=60_030.0), queueing_ms={"forward": 59.0, "return": 0.1})
    assert "It waits on the way there: 59.0 ms there and 100 µs back" in explain_text.judge(AGENT, far).text


def test_a_pipe_gets_plain_text() -> None:
    """Heading, sentence, tables, notes; the route of this machine to the address."""
    with serving(answer(pair("node2", probes=[probe(7)], **HERE))) as url:
        done = in_a_pipe("node2", "--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "node1 to node2: 127.0.0.1, zone b, by lo, source tracepoint"
    assert lines[1].startswith("The largest part is the send delay, 80.0 µs (usually 80.1 µs), 57 % of all: ")
    assert lines[5].split()[:3] == ["22:13:27.250", "7", "reply"]
    assert "route: dev lo src 127.0.0.1; handed to the driver of lo" in lines
    assert "\x1b" not in done.stdout


def test_two_families_are_explained_one_after_the_other() -> None:
    """A blank line between them."""
    with serving(
        answer(pair("node2", probes=[], **HERE), pair("node2", probes=[], family="ipv6", address="::1", device="lo"))
    ) as url:
        lines = in_a_pipe("node2", "--url", url).stdout.splitlines()
    assert [line.split(",")[0] for line in lines if line.startswith("node1 to ")] == [
        "node1 to node2: 127.0.0.1",
        "node1 to node2: ::1",
    ]
    assert lines[lines.index("node1 to node2: ::1, zone b, by lo, source tracepoint") - 1] == ""


def test_a_terminal_gets_coloured_bars() -> None:
    """Each part a colour of its own; at 80 columns the time, number and RTT give way, the bars do not."""
    with serving(answer(pair("node2", probes=[probe(7)], **HERE))) as url:
        shown = in_a_terminal([*PROGRAM, "node2", "--url", url], columns=80)
    for letter, colour, count in (("s", 43, 18), ("f", 46, 3), ("d", 45, 6), ("r", 42, 5)):
        assert f"\x1b[30;{colour}m{letter * count}\x1b[0m" in shown
    assert "left out to fit: PROBE, SENT" in shown


def test_json_has_diagnosis_and_route() -> None:
    """The agent's answer, and for each pair what is made of it."""
    said = answer(pair("node2", probes=[probe(7)], **HERE))
    with serving(said) as url:
        document = json.loads(in_a_pipe("node2", "--url", url, "--json").stdout)
    (found,) = document["pairs"]
    assert found["route"] == {"device": "lo", "gateway": "", "source": "127.0.0.1"}
    assert found["route_error"] == ""
    assert (found["diagnosis"]["largest"], found["diagnosis"]["risen"]) == ("send_delay", None)
    assert {key: found[key] for key in said["pairs"][0]} == said["pairs"][0]
    assert {key: document[key] for key in said if key != "pairs"} == {key: said[key] for key in said if key != "pairs"}


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:10045", True),
        ("http://[::1]:10045", True),
        ("http://localhost:10045", True),
        ("http://10.0.0.2:10045", False),
        ("http://node2:10045", False),
    ],
)
def test_a_route_is_looked_up_for_this_nodes_agent_alone(url: str, here: bool) -> None:
    """Another node's routes are not ours."""
    assert is_loopback(url) is here


def test_a_peer_that_is_not_measured_is_told_with_those_that_are() -> None:
    """Five names, each once, and that there are more."""
    pairs = [pair(f"node{number}", family=family) for number in range(2, 9) for family in ("ipv4", "ipv6")]
    with serving(answer(*pairs)) as url, pytest.raises(UnknownPeer) as caught:
        ask_about("node9", url)
    assert str(caught.value) == (
        "node node1 measures no peer 'node9'; it measures node2, node3, node4, node5, node6, …"
    )


def test_an_agent_without_peers_measures_none() -> None:
    """Said as it is."""
    with serving(answer()) as url, pytest.raises(UnknownPeer, match=r"measures no peer 'node2'; it measures none$"):
        ask_about("node2", url)


def test_an_agent_that_knows_no_single_peers_is_of_another_version() -> None:
    """An older one ignores the question and tells of no probes."""
    with (
        serving(answer(pair("node2"))) as url,
        pytest.raises(AgentUnreachable, match=r"lacks probes .is it a monlat of"),
    ):
        ask_about("node2", url)
