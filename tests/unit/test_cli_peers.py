"""`monlat peers` in a pipe, in a terminal and as JSON, and its errors when no agent answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def refusing() -> Iterator[str]:
    """Yield a URL on loopback where nobody listens: the port stays bound, so that no other program takes it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_pipe_gets_plain_text_of_any_width() -> None:
    """No colours, no frames, nothing cut off at 80 columns."""
    name = "node2." + "long-name." * 20
    with serving(answer(pair(name))) as url:
        done = in_a_pipe("--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    title, head, row = done.stdout.splitlines()
    assert title == "node node1, source tracepoint, a probe every 1 s, lost after 0.5 s; times in ms"
    assert head.split()[:5] == ["TO", "ZONE", "FAMILY", "ADDRESS", "DEVICE"]
    assert row.split()[:13] == [
        *(name, "b", "ipv4", "10.0.0.2", "eth0", "23", "4", "17.4%"),
        *("0.043", "0.050", "1.27", "0.0094", "103"),
    ]
    assert "\x1b" not in done.stdout
    assert not set(BOX_DRAWING) & set(done.stdout)


def test_terminal_gets_a_table_with_colours() -> None:
    """A frame, and red where probes were lost."""
    with serving(answer(pair("node2"))) as url:
        shown = in_a_terminal([*PROGRAM, "--url", url], columns=160)
    assert set(BOX_DRAWING) & set(shown)
    assert "\x1b[1;31m" in shown
    assert "10.0.0.2" in shown


def test_narrow_terminal_leaves_columns_out_and_names_them() -> None:
    """At 80 columns, LOST AT and FAMILY are left out; the other columns are complete."""
    with serving(answer(pair("node2"))) as url:
        shown = in_a_terminal([*PROGRAM, "--url", url], columns=80)
    assert "left out to fit: LOST AT, FAMILY" in shown
    assert all(number in shown for number in ("23", "17.4%", "0.043", "0.050", "1.27", "0.0094", "103"))


def test_very_narrow_terminal_cuts_nothing() -> None:
    """At 30 columns the terminal wraps the lines, and all numbers are shown."""
    with serving(answer(pair("node2"))) as url:
        shown = " ".join(in_a_terminal([*PROGRAM, "--url", url], columns=30).split())
    assert "left out to fit: LOST AT, FAMILY, DEVICE, ZONE, MIN, MAX" in shown
    assert all(text in shown for text in ("node2", "10.0.0.2", "23", "17.4%", "0.043", "0.050", "1.27"))


def test_json_is_the_agents_answer() -> None:
    """The answer is printed with indentation, including fields that this version does not know."""
    sent = answer(pair("node2"), field_of_a_later_version=True)
    with serving(sent) as url:
        done = in_a_pipe("--url", url, "--json")
    assert json.loads(done.stdout) == sent
    assert done.stdout.startswith('{\n  "node": "node1",\n')


def test_variables_stand_for_the_flags() -> None:
    """MONLAT_URL and MONLAT_JSON."""
    with serving(answer()) as url:
        done = in_a_pipe(MONLAT_URL=url + "/", MONLAT_JSON="1")
    assert json.loads(done.stdout) == answer()


def test_no_proxy_is_asked() -> None:
    """The agent is on this node, whatever http_proxy says."""
    with refusing() as dead, serving(answer()) as url:
        done = in_a_pipe("--url", url, "--json", http_proxy=dead, HTTP_PROXY=dead, all_proxy=dead, no_proxy="")
    assert json.loads(done.stdout) == answer()


def test_missing_agent_error_names_the_url_and_how_to_start_one() -> None:
    """One line, exit status 1."""
    with refusing() as url:
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
        (b"<html>", "its answer to /api/v1/peers is not JSON"),
        (b"\xff", "its answer to /api/v1/peers is not JSON"),
        (b"[]", "its answer to /api/v1/peers is not a JSON object"),
        (
            {"node": "node1", "pairs": []},
            "its answer to /api/v1/peers lacks interval_seconds, probe_errors, rejected_feedback, "
            "reply_stamps, send_delay_seconds, skipped_probes, source, source_reason, timeout_seconds, "
            "unlisted_source_probes, unmatched_packets (is it another version of monlat?)",
        ),
        (
            answer({}) | {"pairs": None},
            "its answer to /api/v1/peers lacks a list in pairs (is it another version of monlat?)",
        ),
        (
            answer(pair("node2"), pair("node3", rtt_seconds={"last": None, "p50": None, "min": None, "max": None})),
            "its answer to /api/v1/peers lacks pairs[1].rtt_seconds.p99 (is it another version of monlat?)",
        ),
    ],
)
def test_answer_that_is_not_an_agents_is_an_error(body: object, reason: str) -> None:
    """Another server on the port, or another version, gets its own message."""
    with serving(body) as url, pytest.raises(AgentUnreachable) as caught:  # type: ignore[arg-type] # any JSON
        ask(url)
    assert f"no agent answers at {url}: {reason}. Start one" in str(caught.value)


def test_error_status_of_another_server_is_reported() -> None:
    """An agent does not answer 404."""
    with (
        serving(answer()) as url,
        pytest.raises(AgentUnreachable, match=r"it answers 404 Not Found to /api/v1/peers\. "),
    ):
        ask(url + "/elsewhere")


def test_silent_server_ends_in_the_timeout() -> None:
    """A server that accepts and sends nothing is given up after the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(AgentUnreachable, match=r": it does not answer in time\. Start one"):
            ask(url, timeout_seconds=0.05)


@pytest.mark.parametrize("url", ["node1:10045", "file:///etc/passwd", "http://", "http://[::1", "http://a:99999", ""])
def test_invalid_url_is_a_configuration_error(url: str) -> None:
    """Only http and https URLs with a host are valid."""
    with pytest.raises(ConfigError) as caught:
        ask(url)
    assert str(caught.value) == (
        f"--url (MONLAT_URL): {url!r} is not the URL of an agent; write for example http://[::1]:10045"
    )
