"""`monlat doctor`: can an agent measure on this machine, and if not, what is missing."""

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
    """Check what an agent needs here, and say how to fix what is missing.

    It loads the kernel program for real and measures this host's own addresses. Run it as the agent runs: same user,
    same capabilities, same container. Exit status: 0 when an agent could measure at driver level, else 1.
    """
    start_logging("error")  # what goes wrong is a check's to say
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
