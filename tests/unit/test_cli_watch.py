"""`monlat watch`: its table, in a pipe, in a terminal, and while the agent is away."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from monlat_ebpf.cli.rendering import Tone
from monlat_ebpf.cli.screen import as_text
from monlat_ebpf.cli.watch_text import watch_table
from monlat_ebpf.exposition.api import PeersDocument
from tests.unit.fake_agent import answer, pair, serving
from tests.unit.terminal import started_in_a_terminal

PROGRAM = [sys.executable, "-m", "monlat_ebpf", "watch"]
SILENT: dict[str, Any] = {
    "rtt_seconds": {"last": None, "p50": None, "p99": None, "min": None, "max": None},
    "network_rtt_seconds": {"last": None, "p50": None, "p99": None},
    "dwell_seconds": {"p50": None, "p99": None},
    "peer_dwell_seconds": None,
    "queueing_seconds": None,
}

# Each run of the command ends by a signal at another moment, mostly while it waits. threading.Event deadlocks here, and
# the handlers pile up.
SIGNAL_STORM = """
import random, signal
from monlat_ebpf.cli import watch
from monlat_ebpf.cli.rendering import Table
watch.ask = watch.watch_table = lambda *_, **__: Table("", (), ())
moment = random.Random(1)
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGTERM))
for _ in range(1009):
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, moment.uniform(100e-6, 900e-6), 300e-6)
    watch.command.main(["--url", "http://node", "--interval", "100ms"], standalone_mode=False)
    signal.setitimer(signal.ITIMER_REAL, 0)
print("ended")
"""


@contextmanager
def watching(url: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*PROGRAM, "--url", url, "--interval", "100ms"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_row_has_times_of_the_last_probe_and_losses() -> None:
    """RTT and network RTT with quantiles, the peer's dwell, queueing by direction, losses; a dash if unknown."""
    document = answer(pair("node2"), pair("node3", lost=0, replies=0, results={}, **SILENT))
    title, head, known, unknown = as_text(watch_table(cast(PeersDocument, document))).splitlines()
    assert title == "node node1, source tracepoint, a probe every 1 s, lost after 0.5 s; times in ms"
    assert re.split("  +", head) == [
        *("TO", "FAMILY", "RTT", "P50", "P99", "NETWORK", "P50", "P99", "DWELL"),
        *("QUEUED FORWARD", "QUEUED RETURN", "OWN DWELL P50", "LOSS", "LOST AT"),
    ]
    assert re.split("  +", known) == [
        *("node2", "ipv4", "0.043", "0.050", "1.27", "0.013", "0.015", "0.900", "0.030"),
        *("0.0021", "0.0000", "0.031", "17.4%", "network 3, unreachable 1"),
    ]
    assert unknown.split() == ["node3", "ipv4", *["-"] * 11]


def test_silent_peer_is_highlighted() -> None:
    """Its last RTT and its losses have a colour."""
    (row,) = watch_table(cast(PeersDocument, answer(pair("node2", **SILENT)))).rows
    assert [cell.text for cell in row if cell.tone is Tone.BAD] == ["-", "17.4%", "network 3, unreachable 1"]


def test_pipe_gets_a_table_each_interval() -> None:
    """A blank line separates two tables, without colours. SIGTERM ends the command with status 0."""
    with serving(answer(pair("node2"))) as url, watching(url) as process:
        lines = [line_of(process) for _ in range(7)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert lines[3] == "\n"
    assert lines[:3] == lines[4:]
    assert "\x1b" not in "".join(lines)


def test_signal_ends_it_at_any_moment() -> None:
    """1,009 runs end by a signal each, none hangs."""
    storm = subprocess.run([sys.executable, "-c", SIGNAL_STORM], capture_output=True, text=True, timeout=60, check=True)
    assert storm.stdout.split() == ["ended"]


def test_closed_pipe_ends_it_without_an_error() -> None:
    """`monlat watch | head -1` has status 0 and writes nothing to standard error."""
    with serving(answer(pair("node2"))) as url, watching(url) as process:
        assert line_of(process).startswith("node node1")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=20) == 0


def test_missing_agent_is_reported_once_until_it_is_back() -> None:
    """Three failed requests write one line to standard error; then the tables continue."""
    good, bad = answer(pair("node2")), b"<html>"
    with serving(good, bad, bad, bad, good) as url, watching(url) as process:
        lines = [line_of(process) for _ in range(7)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, lines[:3]) == (0, lines[4:])
    assert errors.splitlines() == [
        f"monlat: no agent answers at {url}: its answer to /api/v1/peers is not JSON. "
        "Start one with `monlat agent --peers FILE`, or say where it listens with --url (MONLAT_URL)"
    ]


def test_missing_agent_at_the_start_is_an_error() -> None:
    """Status 1, as for `monlat peers`."""
    done = subprocess.run([*PROGRAM, "--url", "http://127.0.0.1:1"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("monlat: no agent answers at http://127.0.0.1:1: ")


@pytest.mark.parametrize("interval", ["0s", "99ms", "2h", "soon"])
def test_invalid_interval_is_an_error(interval: str) -> None:
    """Status 2, and the message names the flag."""
    done = subprocess.run([*PROGRAM, "--interval", interval], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--interval" in done.stderr


def test_terminal_is_redrawn_in_place() -> None:
    """The table is drawn over the last one (cursor up, line erased) until Ctrl-C, which ends with status 0."""
    with (
        serving(answer(pair("node2"))) as url,
        started_in_a_terminal([*PROGRAM, "--url", url, "--interval", "100ms"], columns=200) as (process, terminal),
    ):
        written = b""
        while written.count(b"node2") < 3:
            written += os.read(terminal, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    assert b"\x1b[1A" in written
    assert b"\x1b[2K" in written
