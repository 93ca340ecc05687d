"""The program as users start it: exit statuses, one-line errors, help, version, lazy imports, log lines."""

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
from monlat_ebpf.cli.main import COMMANDS, check_byte_order, monlat
from monlat_ebpf.errors import ConfigError, StartError


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in its own process, with only those MONLAT_ variables that are given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MONLAT_")}
    return subprocess.run(
        [sys.executable, "-m", "monlat_ebpf", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**clean, **environment},
    )


def test_version_is_that_of_the_package() -> None:
    """`monlat --version` prints the installed version."""
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"monlat, version {version('monlat-ebpf')}\n", "")


def test_several_addresses_in_the_variable_are_apart_by_spaces() -> None:
    """As click has it for an option that may be given several times."""
    done = run("agent", "--peers", "p.yaml", MONLAT_LISTEN="127.0.0.1:81 [10.0.0.2]:80  10.0.0.2:80")
    assert done.stderr == "monlat: --listen (MONLAT_LISTEN): 10.0.0.2:80 is given twice; keep one\n"


def test_every_command_has_its_help() -> None:
    """Each command can be imported, and the program's help has a line for it."""
    runner = CliRunner()
    listed = runner.invoke(monlat, ["--help"])
    assert listed.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in listed.output
        assert runner.invoke(monlat, [name, "--help"]).exit_code == 0


def test_no_command_shows_the_help_and_fails() -> None:
    """A script without a command must fail."""
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: monlat [OPTIONS]")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["agent", "--peers", "p.yaml", "--interval", "0"],
            "monlat: --interval (MONLAT_INTERVAL): 0ms is not a time between two probes; "
            "give 10ms or more, for example 1s\n",
        ),
        (
            ["agent"],
            "monlat: --peers (MONLAT_PEERS): static discovery needs a peers file; give --peers FILE\n",
        ),
        (
            ["agent", "--listen", "::1:3"],
            "monlat: Invalid value for '--listen' (env var: 'MONLAT_LISTEN'): '::1:3' is ambiguous; "
            "write the IPv6 address in brackets, as in [::1]:3; see monlat agent --help\n",
        ),
        (
            ["agent", "--source", "clock"],
            "monlat: Invalid value for '--source' (env var: 'MONLAT_SOURCE'): "
            "'clock' is not one of 'auto', 'tracepoint', 'socket'; see monlat agent --help\n",
        ),
        (
            ["agent", "--probe-neighbours", "some"],
            "monlat: Invalid value for '--probe-neighbours' (env var: 'MONLAT_PROBE_NEIGHBOURS'): "
            "'some' is not a number of nodes; write an even number such as 32, or all or auto; "
            "see monlat agent --help\n",
        ),
        (
            ["agent", "--peers", "p.yaml", "--probe-neighbours", "5"],
            "monlat: --probe-neighbours (MONLAT_PROBE_NEIGHBOURS): 5 is odd, and a node has one on either side; "
            "give 4 or 6\n",
        ),
        (
            ["agent", "--max-peers", "100001"],
            "monlat: Invalid value for '--max-peers' (env var: 'MONLAT_MAX_PEERS'): "
            "100001 is not in the range 1<=x<=100000; see monlat agent --help\n",
        ),
        (
            ["agent", "--max-peers", "ten"],
            "monlat: Invalid value for '--max-peers' (env var: 'MONLAT_MAX_PEERS'): "
            "'ten' is not a valid integer range; see monlat agent --help\n",
        ),
        (
            ["agent", "--listen", "[::1]:80", "--listen", "[::1]:80", "--peers", "p.yaml"],
            "monlat: --listen (MONLAT_LISTEN): [::1]:80 is given twice; keep one\n",
        ),
        (
            ["agent", "--listen", ":65536", "--peers", "p.yaml"],
            "monlat: --listen (MONLAT_LISTEN): port 65536 does not exist; give 0 to 65535\n",
        ),
    ],
)
def test_wrong_command_line_is_one_line_and_exit_status_2(arguments: list[str], line: str) -> None:
    """No traceback and no usage: only what is wrong and how to fix it."""
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
def test_unknown_command_is_one_line_and_exit_status_2(arguments: list[str], end: str) -> None:
    """The message of click names the word, and the line ends with the help to read."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("monlat: ")
    assert arguments[-1] in line
    assert line.endswith(f"; {end}")


def test_big_endian_machine_is_named() -> None:
    """The error says which machine this is, and on which ones monlat runs."""
    check_byte_order("little", "riscv64")
    with pytest.raises(StartError, match=r"this machine \(s390x\) is big-endian.* x86_64 and aarch64"):
        check_byte_order("big", "s390x")


@pytest.mark.parametrize("arguments", [["agent", "--peers", "p.yaml"], ["ping", "-c1", "127.0.0.1"], ["doctor"]])
def test_no_command_runs_on_a_big_endian_machine(arguments: list[str]) -> None:
    """One line and exit status 1, in a process whose Python says that it is on such a machine."""
    code = "import sys; from monlat_ebpf.cli.main import run; sys.byteorder = 'big'; sys.exit(run(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"monlat: this machine ({os.uname().machine}) is big-endian, ")


def test_variable_sets_its_flag() -> None:
    """MONLAT_INTERVAL is --interval; the command's name is not part of it."""
    done = run("agent", MONLAT_PEERS="p.yaml", MONLAT_INTERVAL="5ms")
    assert done.returncode == 2
    assert done.stderr.startswith("monlat: --interval (MONLAT_INTERVAL): 5ms is too short")


def test_flag_overrides_its_variable() -> None:
    """The command line has priority over the environment."""
    done = run("agent", "--peers", "p.yaml", "--interval", "6ms", MONLAT_INTERVAL="5ms")
    assert done.stderr.startswith("monlat: --interval (MONLAT_INTERVAL): 6ms is too short")


def test_every_flag_has_a_variable() -> None:
    """For each option of each command: MONLAT_ and the flag's name."""
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


def test_agent_command_imports_no_library_of_other_commands() -> None:
    """To save the agent's memory: no rich, pyroute2, kubernetes, icmplib or YAML before they are needed."""
    code = (
        "import sys, monlat_ebpf.cli.main, monlat_ebpf.cli.agent;"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'rich', 'pyroute2', 'kubernetes', 'icmplib', 'bcc', 'yaml', 'asyncio', 'urllib3'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_command_raises_configuration_errors() -> None:
    """Commands raise ConfigError; only the program turns it into a line."""
    result = CliRunner().invoke(monlat, ["agent", "--peers", "p.yaml", "--interval", "0"])
    assert isinstance(result.exception, ConfigError)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The agent's log at level info. The log of the test runner is restored at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    stream = io.StringIO()
    start_logging("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_log_record_is_one_line_with_its_time_in_utc() -> None:
    """1234567890.123 s after the epoch is 2009-02-13 23:31:30.123 UTC. Line breaks are escaped."""
    record = logging.LogRecord("monlat_ebpf.agent", logging.WARNING, "agent.py", 1, "two\n%s", ("lines",), None)
    record.created = 1234567890.123
    assert OneLineFormatter().format(record) == ("2009-02-13T23:31:30.123Z WARNING monlat_ebpf.agent: two\\nlines")


def test_traceback_in_the_log_is_one_line(log: io.StringIO) -> None:
    """Log collectors read lines, so an exception stays in the line of its record."""
    try:
        raise RuntimeError("gone")
    except RuntimeError:
        logging.getLogger("monlat_ebpf.test").exception("it failed")
    (line,) = log.getvalue().splitlines()
    assert " ERROR monlat_ebpf.test: it failed\\nTraceback " in line
    assert line.endswith("\\nRuntimeError: gone")


def test_log_level_is_applied(log: io.StringIO) -> None:
    """At level info, an info record is written and a debug record is not."""
    logging.getLogger("monlat_ebpf.test").debug("small")
    logging.getLogger("monlat_ebpf.test").info("large")
    (line,) = log.getvalue().splitlines()
    assert line.endswith(" INFO monlat_ebpf.test: large")
