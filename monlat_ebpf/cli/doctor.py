"""`monlat doctor`: check whether an agent can measure on this machine, and what is missing."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Final

import click

from monlat_ebpf.cli.doctor_text import lines
from monlat_ebpf.cli.log import start_logging
from monlat_ebpf.cli.options import setting
from monlat_ebpf.doctor.check import Status
from monlat_ebpf.doctor.checks import document, is_ok, run_checks
from monlat_ebpf.doctor.gather import gather

_COLOURS: Final = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}


@click.command("doctor")
@setting(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document: {ok, checks: [{name, status, found, why, remedy}]}.",
)
def command(as_json: bool) -> int:
    """Check what an agent needs on this machine, and say how to fix what is missing.

    It loads the real kernel program and measures this host's own addresses. Run it in the same way as the agent: with
    the same user, the same capabilities and in the same container. Exit status: 0 if an agent can measure at driver
    level, 1 if not.
    """
    start_logging("error")  # the checks report warnings themselves
    checks = run_checks(gather())
    if as_json:
        click.echo(json.dumps(document(checks), indent=2))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in lines(checks, width):
            if line.status is None:
                click.echo(line.text)
            else:
                end = len(line.status)
                click.echo(click.style(line.text[:end], fg=_COLOURS[line.status]) + line.text[end:])
    return 0 if is_ok(checks) else 1
