"""The program `monlat`: run a command, and turn an error into one line and an exit status."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import click

from monlat_ebpf import __version__
from monlat_ebpf.errors import MonlatError, StartError

COMMANDS = ("agent", "collect", "matrix", "diagnose", "ping", "peers", "explain", "watch", "doctor", "demo")
"""In the order of the help. Each is the object `command` in the module of the same name in this package."""

_NO_COMMAND = 2  # as for any other wrong command line
_INTERRUPTED = 130  # 128 + SIGINT, as shells count


class LazyGroup(click.Group):
    """Import a command's module only when it is used: the agent loads no library of another command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command; None if no command has that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"monlat_ebpf.cli.{cmd_name}").command
        return command


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, prog_name="monlat")
@click.pass_context
def monlat(context: click.Context) -> None:
    """Measure the latency between the nodes of a cluster. The kernel takes the time stamps at the network driver.

    Each flag has an environment variable, for example MONLAT_NODE_NAME for --node-name.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(_NO_COMMAND)
    check_byte_order(sys.byteorder, os.uname().machine)


def check_byte_order(order: str, machine: str) -> None:
    """Raise StartError on a big-endian machine, where every number of the kernel program would be misread."""
    if order != "little":
        raise StartError(
            f"this machine ({machine}) is {order}-endian, and monlat runs on little-endian machines only, "
            "such as x86_64 and aarch64: run it on one of those"
        )


def main() -> NoReturn:
    """Run the command line and exit with 0 (done), 1 (failed), 2 (wrong command line) or 130 (interrupted)."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit status. Write an error to standard error."""
    try:
        status = monlat.main(arguments, prog_name="monlat", standalone_mode=False)
    except MonlatError as error:
        return _report(str(error), error.exit_status)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "monlat"
        return _report(f"{error.format_message().rstrip('.')}; see {command} --help", error.exit_code)
    except click.ClickException as error:
        return _report(error.format_message(), error.exit_code)
    except click.Abort:
        return _INTERRUPTED
    return status if isinstance(status, int) else 0


def _report(message: str, exit_status: int) -> int:
    click.echo("monlat: " + message.replace("\n", "\nmonlat: "), err=True)
    return exit_status
