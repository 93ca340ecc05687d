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
from monlat_ebpf.ping.resolve import resolve

_COLOURS: Final = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red", Status.SKIP: "cyan"}


@click.command("doctor")
@click.argument("addresses", metavar="[ADDRESS]...", nargs=-1)
@setting(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document: {ok, checks: [{name, status, found, why, remedy}], paths: [...]}. "
    "Its times are in seconds.",
)
def command(addresses: tuple[str, ...], as_json: bool) -> int:
    """Check what an agent needs on this machine, and say how to fix what is missing.

    It loads the real kernel program and probes this host's own addresses and each ADDRESS, for example other nodes.
    Without ADDRESS, it probes peers of the agent that runs here, or the default gateways if there is no agent.

    Run it in the same way as the agent: with the same user, the same capabilities and in the same container. Exit
    status: 0 if nothing stops an agent from measuring at driver level, 1 if something does: a missing right, replies
    that no driver stamps, a firewall of this host.
    """
    start_logging("error")  # the checks report warnings themselves
    facts = gather([resolve(each) for each in addresses])
    checks = run_checks(facts)
    if as_json:
        click.echo(json.dumps(document(facts, checks), indent=2))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in lines(checks, width):
            if line.status is None:
                click.echo(line.text)
            else:
                end = len(line.status)
                click.echo(click.style(line.text[:end], fg=_COLOURS[line.status]) + line.text[end:])
    return 0 if is_ok(checks) else 1
