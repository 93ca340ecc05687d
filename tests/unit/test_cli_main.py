"""The program as users start it: exit statuses, one-line errors, help, version, lazy imports, the log's lines."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner

from monlat_ebpf.cli.log import OneLineFormatter, start_logging
from monlat_ebpf.cli.main import COMMANDS, monlat
from monlat_ebpf.errors import ConfigError


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, without MONLAT_ variables but those given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MONLAT_")}
    return subprocess.run(
        [sys.executable, "-m", "monlat_ebpf", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**clean, **environment},
    )


def test_version_is_the_packages() -> None:
    """`monlat --version` says what is installed."""
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"monlat, version {version('monlat-ebpf')}\n", "")


def test_every_command_has_its_help() -> None:
    """Each listed command can be imported, and the program's help tells it in one line."""
    runner = CliRunner()
    listed = runner.invoke(monlat, ["--help"])
    assert listed.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in listed.output
        assert runner.invoke(monlat, [name, "--help"]).exit_code == 0


def test_no_command_shows_the_help_and_fails() -> None:
    """A script that forgot the command must not go on as if all were well."""
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: monlat [OPTIONS]")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["agent", "--peers", "p.yaml", "--interval", "0"],
            "monlat: --interval (MONLAT_INTERVAL): 0ms is no time between two probes; give 10ms or more, 1s is usual\n",
        ),
        (
            ["agent"],
            "monlat: --peers (MONLAT_PEERS): static discovery reads a peers file, and none is named; "
            "give --peers FILE\n",
        ),
        (
            ["agent", "--listen", "::1:3"],
            "monlat: --listen (MONLAT_LISTEN): '::1:3' is ambiguous; "
            "put the IPv6 address in brackets, for example [::1]:3\n",
        ),
        (
            ["agent", "--source", "clock"],
            "monlat: --source (MONLAT_SOURCE): 'clock' is unknown; choose one of auto, tracepoint, socket\n",
        ),
    ],
)
def test_an_impossible_command_line_is_one_line_and_exit_status_2(arguments: list[str], line: str) -> None:
    """No traceback, no usage block: what is wrong and how to fix it."""
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        (["bogus"], "see monlat --help"),
        (["agent", "--bogus"], "see monlat agent --help"),
        (["agent", "--log-level", "loud"], "see monlat agent --help"),
    ],
)
def test_what_the_command_line_does_not_know_is_one_line_too(arguments: list[str], end: str) -> None:
    """click's own words name what is unknown, and the line ends with where to look."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("monlat: ")
    assert arguments[-1] in line
    assert line.endswith(f"; {end}")


def test_a_variable_stands_for_its_flag() -> None:
    """MONLAT_INTERVAL is --interval, without the command's name in it."""
    done = run("agent", MONLAT_PEERS="p.yaml", MONLAT_INTERVAL="5ms")
    assert done.returncode == 2
    assert done.stderr.startswith("monlat: --interval (MONLAT_INTERVAL): 5ms is too short")


def test_a_flag_wins_over_its_variable() -> None:
    """The command line is nearer than the environment."""
    done = run("agent", "--peers", "p.yaml", "--interval", "6ms", MONLAT_INTERVAL="5ms")
    assert done.stderr.startswith("monlat: --interval (MONLAT_INTERVAL): 6ms is too short")


def test_every_flag_has_a_variable() -> None:
    """The rule of the design, for each option of each command: MONLAT_ and the flag's name."""
    options = [
        option
        for name in COMMANDS
        if (command := monlat.get_command(click.Context(monlat), name))
        for option in command.params
        if isinstance(option, click.Option)
    ]
    assert {option.opts[0]: option.envvar for option in options} == {
        option.opts[0]: "MONLAT_" + option.opts[0].removeprefix("--").replace("-", "_").upper() for option in options
    }


def test_the_agents_command_imports_no_other_commands_libraries() -> None:
    """The agent's memory matters: no rich, pyroute2, kubernetes, icmplib or YAML before anybody needs them."""
    code = (
        "import sys, monlat_ebpf.cli.main, monlat_ebpf.cli.agent;"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'rich', 'pyroute2', 'kubernetes', 'icmplib', 'bcc', 'yaml', 'asyncio', 'urllib3'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_configuration_error_passes_the_commands_untouched() -> None:
    """Commands raise what they mean; only the program turns it into a line."""
    result = CliRunner().invoke(monlat, ["agent", "--max-peers", "many"])
    assert isinstance(result.exception, ConfigError)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The log at level info, as the agent sets it up; the test runner's own is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    stream = io.StringIO()
    start_logging("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_log_record_is_one_line_with_its_time_in_utc() -> None:
    """1234567890.123 s after the epoch is 2009-02-13 23:31:30.123 UTC; line breaks do not break the line."""
    record = logging.LogRecord("monlat_ebpf.agent", logging.WARNING, "agent.py", 1, "two\n%s", ("lines",), None)
    record.created = 1234567890.123
    assert OneLineFormatter().format(record) == ("2009-02-13T23:31:30.123Z WARNING monlat_ebpf.agent: two\\nlines")


def test_a_traceback_in_the_log_is_one_line(log: io.StringIO) -> None:
    """Collectors of logs take lines: an exception stays with its record."""
    try:
        raise RuntimeError("gone")
    except RuntimeError:
        logging.getLogger("monlat_ebpf.test").exception("it failed")
    (line,) = log.getvalue().splitlines()
    assert " ERROR monlat_ebpf.test: it failed\\nTraceback " in line
    assert line.endswith("\\nRuntimeError: gone")


def test_the_log_level_holds(log: io.StringIO) -> None:
    """At info, a debug record is not written and an info record is."""
    logging.getLogger("monlat_ebpf.test").debug("small")
    logging.getLogger("monlat_ebpf.test").info("large")
    (line,) = log.getvalue().splitlines()
    assert line.endswith(" INFO monlat_ebpf.test: large")
