"""`monlat peers` in a pipe, in a terminal and as JSON, and what it says when no agent answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from monlat_ebpf.errors import AgentUnreachable, ConfigError
from monlat_ebpf.exposition.client import ask
from tests.unit.fake_agent import answer, pair, serving
from tests.unit.terminal import in_a_terminal

PROGRAM = [sys.executable, "-m", "monlat_ebpf", "peers"]
BOX_DRAWING = "─━│┃"


def in_a_pipe(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def unused_port() -> int:
    """A port of loopback on which nobody listens: bound and closed again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_pipe_gets_plain_text_of_any_width() -> None:
    """No colours, no frames, nothing cut off at 80 columns."""
    name = "node2." + "long-name." * 20
    with serving(answer(pair(name))) as url:
        done = in_a_pipe("--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    title, head, row = done.stdout.splitlines()
    assert title == "node node1, source tracepoint, a probe each 1 s, lost after 0.5 s; RTT in ms"
    assert head.split()[:5] == ["TO", "ZONE", "FAMILY", "ADDRESS", "DEVICE"]
    assert row.split()[:13] == [
        *(name, "b", "ipv4", "10.0.0.2", "eth0", "23", "4", "17.4%"),
        *("0.043", "0.050", "1.27", "0.0094", "103"),
    ]
    assert "\x1b" not in done.stdout
    assert not set(BOX_DRAWING) & set(done.stdout)


def test_a_terminal_gets_a_table_with_colours() -> None:
    """A frame, and red where probes were lost."""
    with serving(answer(pair("node2"))) as url:
        shown = in_a_terminal([*PROGRAM, "--url", url], columns=160)
    assert set(BOX_DRAWING) & set(shown)
    assert "\x1b[1;31m" in shown
    assert "10.0.0.2" in shown


def test_a_narrow_terminal_leaves_columns_out_and_says_so() -> None:
    """At 80 columns where probes were lost and the family give way; what is shown is whole."""
    with serving(answer(pair("node2"))) as url:
        shown = in_a_terminal([*PROGRAM, "--url", url], columns=80)
    assert "left out to fit: LOST AT, FAMILY" in shown
    assert all(number in shown for number in ("23", "17.4%", "0.043", "0.050", "1.27", "0.0094", "103"))


def test_a_terminal_that_is_too_narrow_for_anything_cuts_nothing() -> None:
    """At 30 columns the terminal breaks the lines, and the numbers are all there."""
    with serving(answer(pair("node2"))) as url:
        shown = " ".join(in_a_terminal([*PROGRAM, "--url", url], columns=30).split())
    assert "left out to fit: LOST AT, FAMILY, DEVICE, ZONE, MIN, MAX" in shown
    assert all(text in shown for text in ("node2", "10.0.0.2", "23", "17.4%", "0.043", "0.050", "1.27"))


def test_json_is_the_agents_answer() -> None:
    """Whatever the agent says is passed on, with fields that this program does not know, indented."""
    said = answer(pair("node2"), news_of_a_later_version=True)
    with serving(said) as url:
        done = in_a_pipe("--url", url, "--json")
    assert json.loads(done.stdout) == said
    assert done.stdout.startswith('{\n  "node": "node1",\n')


def test_variables_stand_for_the_flags() -> None:
    """MONLAT_URL and MONLAT_JSON."""
    with serving(answer()) as url:
        done = in_a_pipe(MONLAT_URL=url + "/", MONLAT_JSON="1")
    assert json.loads(done.stdout) == answer()


def test_no_proxy_is_asked() -> None:
    """The node's agent is on the node, whatever http_proxy says."""
    dead = f"http://127.0.0.1:{unused_port()}"
    with serving(answer()) as url:
        done = in_a_pipe("--url", url, "--json", http_proxy=dead, HTTP_PROXY=dead, all_proxy=dead, no_proxy="")
    assert json.loads(done.stdout) == answer()


def test_no_agent_says_which_url_and_how_to_start_one() -> None:
    """One line, exit status 1."""
    url = f"http://127.0.0.1:{unused_port()}"
    done = in_a_pipe("--url", url)
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"monlat: no agent answers at {url}: Connection refused. Start one with `monlat agent --peers FILE`, "
        "or say where it listens with --url (MONLAT_URL)\n",
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "its answer to /api/v1/peers is no JSON"),
        (b"\xff", "its answer to /api/v1/peers is no JSON"),
        (b"[]", "its answer to /api/v1/peers is no JSON object"),
        (
            {"node": "node1", "pairs": []},
            "its answer to /api/v1/peers lacks interval_seconds, probe_errors, rejected_feedback, "
            "send_delay_ms, source, source_reason, timeout_seconds, unmatched_packets (is it a monlat of another version?)",
        ),
        (
            answer({}) | {"pairs": None},
            "its answer to /api/v1/peers lacks a list in pairs (is it a monlat of another version?)",
        ),
        (
            answer(pair("node2"), pair("node3", rtt_ms={"last": None, "p50": None, "min": None, "max": None})),
            "its answer to /api/v1/peers lacks pairs[1].rtt_ms.p99 (is it a monlat of another version?)",
        ),
    ],
)
def test_an_answer_that_is_no_agents_is_told(body: object, reason: str) -> None:
    """Another server on the port, or another version, is named as such; nothing breaks later."""
    with serving(body) as url, pytest.raises(AgentUnreachable) as caught:  # type: ignore[arg-type] # any JSON
        ask(url)
    assert f"no agent answers at {url}: {reason}. Start one" in str(caught.value)


def test_another_server_is_told_by_its_status() -> None:
    """A 404 is no agent's answer."""
    with (
        serving(answer()) as url,
        pytest.raises(AgentUnreachable, match=r"it answers 404 Not Found to /api/v1/peers\. "),
    ):
        ask(url + "/elsewhere")


def test_a_silent_server_is_not_waited_for() -> None:
    """A port that accepts and says nothing ends in the time-out that was given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(AgentUnreachable, match=r": it does not answer in time\. Start one"):
            ask(url, timeout_seconds=0.05)


@pytest.mark.parametrize("url", ["node1:10045", "file:///etc/passwd", "http://", "http://[::1", "http://a:99999", ""])
def test_what_is_no_url_is_a_configuration_error(url: str) -> None:
    """Only http and https, with a host."""
    with pytest.raises(ConfigError) as caught:
        ask(url)
    assert str(caught.value) == (
        f"--url (MONLAT_URL): {url!r} is no URL of an agent; write for example http://[::1]:10045"
    )
