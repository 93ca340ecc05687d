"""`monlat explain`: bars, tables and sentences, and the command in a pipe and in a terminal."""

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
UNREPORTED = {
    **{"peer_dwell_seconds": None, "network_rtt_seconds": None},
    **{"forward_seconds": None, "return_seconds": None},
}
LOST = {**UNREPORTED, "rtt_seconds": None}
HERE = {"address": "127.0.0.1", "device": "lo"}  # every machine has a route to it


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
def test_bar_length_is_in_proportion_to_the_longest(lengths: dict[str, float], longest: float, drawn: str) -> None:
    """16 letters for the longest: 80 of 140 us end at 9.1, 90 at 10.3, 120 at 13.7, 140 at 16."""
    assert explain_text.bar(lengths.items(), longest, width=16) == drawn


def test_waterfall_has_a_row_for_each_probe() -> None:
    """A reported probe, an unreported one, a lost one, and one with a negative direction by the clock's error."""
    table = waterfall_of(
        probe(7),
        probe(8, **UNREPORTED),
        probe(9, result="lost_return", **LOST),
        probe(10, forward_seconds=-1.5e-6, return_seconds=31.5e-6),
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
    assert rows[2] == ["9", "lost", "return", "0.080", "-", "-", "-", "-", "s" * 18]
    assert rows[3] == ["10", "reply", "0.080", "-0.0015", "0.030", "0.032", "0.060", "s" * 18 + "d" * 7 + "r" * 7]


def test_waterfall_without_probes_has_only_a_head() -> None:
    """A new pair has no probes yet."""
    assert len(as_text(waterfall_of()).splitlines()) == 2


def test_spread_shows_recent_and_usual_times() -> None:
    """The median of send delays 80, 80 and 110 us is 80; with RTTs of 60 the sums are 140, 140 and 170."""
    table = explain_text.spread(AGENT, explained(probe(1), probe(2, **UNREPORTED), probe(3, send_delay_seconds=110e-6)))
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


def test_notes_have_losses_route_clock_and_user_space() -> None:
    """4 of 23 are lost. The clock is behind, and its error is also the error of each direction."""
    assert explain_text.notes(explained(), "via 10.0.0.254 dev bond0 src 10.0.0.1") == [
        "lost: 4 of 23, 17.4%: network 3, unreachable 1",
        "route: via 10.0.0.254 dev bond0 src 10.0.0.1; handed to the driver of eth0",
        "clock of node2: 2.00 ms behind ours, ± 0.010 ms. Forward and return are split by it: "
        "each is known to ± 0.010 ms, their sum exactly.",
        "A prober in user space measures send delay + RTT and the wake-up of its own process: "
        "`monlat ping 10.0.0.2` shows both.",
    ]


def test_notes_say_when_the_peer_does_not_report() -> None:
    """No agent at the peer, no loss, no route looked up, nothing sent yet."""
    quiet = explained(lost=0, replies=0, device="", clock_offset_seconds=None, clock_offset_error_seconds=None)
    assert explain_text.notes(quiet, "")[:2] == [
        "lost: none of 0",
        "dwell, network RTT and directions are not known: no agent at the peer reports our probes",
    ]


def test_diagnosis_compares_with_the_usual_times() -> None:
    """A dwell of 60 ms is compared with 50.2 - 15.2 = 35.0 us. With queueing, the direction is named."""
    slow = explained(*[probe(number, rtt_seconds=60.03e-3, peer_dwell_seconds=60e-3) for number in range(5)])
    found = explain_text.diagnose(AGENT, slow)
    assert found.risen is Part.DWELL
    assert "60.0 ms (usually 35.0 µs)" in found.text
    far = explained(probe(1, rtt_seconds=60.03e-3), queueing_seconds={"forward": 59e-3, "return": 0.1e-3})
    assert (
        "Packets wait in queues on the way to the peer: 59.0 ms forward and 100 µs back"
        in explain_text.diagnose(AGENT, far).text
    )


def test_pipe_gets_plain_text() -> None:
    """Heading, diagnosis, tables, notes, and this machine's route to the address."""
    with serving(answer(pair("node2", probes=[probe(7)], **HERE))) as url:
        done = in_a_pipe("node2", "--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "node1 to node2: 127.0.0.1, zone b, by lo, source tracepoint"
    assert lines[1].startswith("The largest part is the send delay, 80.0 µs (usually 80.1 µs), 57 % of all: ")
    assert lines[5].split()[:3] == ["22:13:27.250", "7", "reply"]
    assert "route: dev lo src 127.0.0.1; handed to the driver of lo" in lines
    assert "\x1b" not in done.stdout


def test_two_families_follow_each_other() -> None:
    """A blank line separates them."""
    with serving(
        answer(pair("node2", probes=[], **HERE), pair("node2", probes=[], family="ipv6", address="::1", device="lo"))
    ) as url:
        lines = in_a_pipe("node2", "--url", url).stdout.splitlines()
    assert [line.split(",")[0] for line in lines if line.startswith("node1 to ")] == [
        "node1 to node2: 127.0.0.1",
        "node1 to node2: ::1",
    ]
    assert lines[lines.index("node1 to node2: ::1, zone b, by lo, source tracepoint") - 1] == ""


def test_terminal_gets_coloured_bars() -> None:
    """Each part has its own colour. At 80 columns, time, number and RTT are left out, but not the bars."""
    with serving(answer(pair("node2", probes=[probe(7)], **HERE))) as url:
        shown = in_a_terminal([*PROGRAM, "node2", "--url", url], columns=80)
    for letter, colour, count in (("s", 43, 18), ("f", 46, 3), ("d", 45, 6), ("r", 42, 5)):
        assert f"\x1b[30;{colour}m{letter * count}\x1b[0m" in shown
    assert "left out to fit: PROBE, SENT" in shown


def test_json_has_diagnosis_and_route() -> None:
    """The agent's answer, and for each pair the diagnosis and the route."""
    expected = answer(pair("node2", probes=[probe(7)], **HERE))
    with serving(expected) as url:
        document = json.loads(in_a_pipe("node2", "--url", url, "--json").stdout)
    (found,) = document["pairs"]
    assert found["route"] == {"device": "lo", "gateway": "", "source": "127.0.0.1"}
    assert found["route_error"] == ""
    assert (found["diagnosis"]["largest"], found["diagnosis"]["risen"]) == ("send_delay", None)
    assert {key: found[key] for key in expected["pairs"][0]} == expected["pairs"][0]
    assert {**document, "pairs": None} == {**expected, "pairs": None}


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
def test_route_is_looked_up_only_for_this_nodes_agent(url: str, here: bool) -> None:
    """The routes of another node are not known here."""
    assert is_loopback(url) is here


def test_unknown_peer_error_names_the_known_peers() -> None:
    """Five names, each once, and a sign that there are more."""
    pairs = [pair(f"node{number}", family=family) for number in range(2, 9) for family in ("ipv4", "ipv6")]
    with serving(answer(*pairs)) as url, pytest.raises(UnknownPeer) as caught:
        ask_about("node9", url)
    assert str(caught.value) == (
        "node node1 does not measure a peer 'node9'; it measures node2, node3, node4, node5, node6, …"
    )


def test_unknown_peer_error_of_an_agent_without_peers() -> None:
    """The error says that the agent measures none."""
    with (
        serving(answer()) as url,
        pytest.raises(UnknownPeer, match=r"does not measure a peer 'node2'; it measures none$"),
    ):
        ask_about("node2", url)


def test_answer_without_probes_is_of_another_version() -> None:
    """An older agent ignores the query for one peer and sends no probes."""
    with (
        serving(answer(pair("node2"))) as url,
        pytest.raises(AgentUnreachable, match=r"lacks probes .is it another version of"),
    ):
        ask_about("node2", url)
