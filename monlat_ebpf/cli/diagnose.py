"""`monlat diagnose`: what is broken, by name, from the collector."""

from __future__ import annotations

import json
from typing import Final

import click

from monlat_ebpf.cli.asking import collector_options
from monlat_ebpf.cli.cluster import ask_diagnosis, diagnosis_of
from monlat_ebpf.cli.diagnose_text import Status, diagnosis_lines, status_of
from monlat_ebpf.cli.live import show, watch_options
from monlat_ebpf.cli.options import setting
from monlat_ebpf.cli.rendering import Layout
from monlat_ebpf.errors import CollectorUnreachable
from monlat_ebpf.exposition.client_access import ClientAccess

_HELP: Final = """Name what is broken: a node, a pair, what is between two zones, or an agent; with its evidence.

\b
Exit status:
  0  nothing is known to be broken
  1  something is broken
  2  it cannot be told: no collector answers; it has closed no window yet, or
     none lately; or less than half of the agents answer, and nothing is found

With --watch, it is that of the last answer.
"""


@click.command("diagnose", help=_HELP)
@collector_options
@watch_options
@setting("--json", "as_json", is_flag=True, help="Print the collector's answer at /api/v1/diagnosis as JSON.")
def command(url: str, access: ClientAccess, watch: bool, interval: float, as_json: bool) -> int:
    """Show the diagnoses; return the exit status."""
    status = Status.CANNOT_TELL

    def fetch() -> tuple[Layout, ...]:
        nonlocal status
        diagnosis = diagnosis_of(ask_diagnosis(url, access), url)
        status = status_of(diagnosis)
        return ((diagnosis_lines(diagnosis),),)

    def fetch_json() -> str:
        nonlocal status
        reply = ask_diagnosis(url, access)
        status = status_of(diagnosis_of(reply, url))
        return json.dumps(reply.document, ensure_ascii=False) + "\n"

    try:
        show(fetch, fetch_json, as_json=as_json, watch=watch, interval=interval)
    except CollectorUnreachable as error:
        error.exit_status = Status.CANNOT_TELL
        raise
    return status
