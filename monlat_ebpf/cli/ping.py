"""`monlat ping`: probes one host, and shows what the kernel measured beside what user space saw."""

from __future__ import annotations

import json
import signal
from types import FrameType
from typing import Final

import click

from monlat_ebpf.cli import ping_text
from monlat_ebpf.cli.log import start_logging
from monlat_ebpf.cli.options import Duration, IpAddress, dscp_option, setting
from monlat_ebpf.cli.screen import show
from monlat_ebpf.config_text import refuse
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Address, Family
from monlat_ebpf.ping.events import Ended
from monlat_ebpf.ping.pinger import Pinger, Plan
from monlat_ebpf.ping.report import Head, SummaryDocument, document, summary
from monlat_ebpf.ping.resolve import resolve
from monlat_ebpf.ping.user_space import EchoReader
from monlat_ebpf.sources import Sending, SourceChoice
from monlat_ebpf.sources.choice import open_source

COUNT_FOR_JSON: Final = 5
"""A document needs an end. Without --json, monlat ping runs until Ctrl-C, as ping does."""

_SHORTEST_INTERVAL: Final = 0.010
_LONGEST_INTERVAL: Final = 3600.0
_SHORTEST_TIMEOUT: Final = 0.001
_LONGEST_TIMEOUT: Final = 60.0


@click.command("ping")
@click.argument("host")
@setting(
    "--count",
    "-c",
    type=click.IntRange(min=1),
    metavar="N",
    show_default=f"until Ctrl-C; {COUNT_FOR_JSON} with --json",
    help="Probes to send.",
)
@setting(
    "--interval",
    "-i",
    type=Duration(_SHORTEST_INTERVAL, _LONGEST_INTERVAL, plain_seconds=True),
    metavar="SECONDS",
    default="1",
    show_default=True,
    help="Time from one probe to the next; 200ms is 0.2. At least 0.01.",
)
@setting(
    "--timeout",
    "-W",
    type=Duration(_SHORTEST_TIMEOUT, _LONGEST_TIMEOUT, plain_seconds=True),
    metavar="SECONDS",
    default="1",
    show_default=True,
    help="A probe without a reply after this time is lost.",
)
@setting("--ipv4", "-4", is_flag=True, help="Use an IPv4 address of HOST.")
@setting("--ipv6", "-6", is_flag=True, help="Use an IPv6 address of HOST.")
@dscp_option()
@setting(
    "--source-address",
    "-I",
    type=IpAddress(),
    metavar="ADDRESS",
    help="Address of this host from which probes leave. Without it: what the route prefers.",
)
@setting(
    "--source",
    type=click.Choice(SourceChoice, case_sensitive=False),
    default="auto",
    show_default=True,
    help="What stamps the packets; auto uses the best source that this machine allows.",
)
@setting(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document at the end, and nothing else. Its times are in seconds.",
)
def command(
    host: str,
    count: int | None,
    interval: float,
    timeout: float,
    ipv4: bool,
    ipv6: bool,
    dscp: int,
    source_address: Address | None,
    source: SourceChoice,
    as_json: bool,
) -> int:
    """Ping HOST: show the round-trip time that the kernel measured at the driver beside what user space saw.

    Needs no agent. Exit status: 0 when there was a reply, 1 when there was none, 2 for a wrong command line or an
    unknown host.
    """
    if ipv4 and ipv6:
        raise ConfigError("--ipv4 (MONLAT_IPV4) and --ipv6 (MONLAT_IPV6) exclude each other: give one, or none")
    family = Family.IPV4 if ipv4 else Family.IPV6 if ipv6 else None
    if source_address is not None:
        if family not in (None, Family.of(source_address)):
            flag = "-4" if ipv4 else "-6"
            refuse("source-address", f"{source_address} is of the other family than {flag}; omit one of them")
        family = Family.of(source_address)
    address = resolve(host, family)
    plan = Plan(COUNT_FOR_JSON if as_json and count is None else count, interval, timeout)
    start_logging("error")  # the output itself says when a source is not the first choice
    sending = Sending(dscp, (source_address,) if source_address else ())
    opened, reason = open_source(source, plan.table_size(), sending=sending)
    head = Head(host, address, opened.name, reason)
    try:
        with EchoReader(address) as reader:
            pinger = Pinger(opened, reader, address, plan)
            _stop_at_signals(pinger)
            ended = _run(pinger, head, plan, as_json=as_json)
            late, duplicates = pinger.late_and_duplicates()
            sums = summary(ended, sent=pinger.sent, in_flight=pinger.in_flight, late=late, duplicates=duplicates)
    finally:
        opened.close()
    _finish(head, ended, sums, as_json=as_json)
    return 0 if sums["replies"] else 1


def _stop_at_signals(pinger: Pinger) -> None:
    def end(_signal: int, _frame: FrameType | None) -> None:
        pinger.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def _run(pinger: Pinger, head: Head, plan: Plan, *, as_json: bool) -> list[Ended]:
    if not as_json:
        for line in ping_text.heading(head, plan.interval_seconds):
            _echo(line)
    ended = []
    for event in pinger.run():
        if isinstance(event, Ended):
            ended.append(event)
        if not as_json:
            _echo(ping_text.line(event, plan.timeout_seconds))
    return ended


def _finish(head: Head, ended: list[Ended], sums: SummaryDocument, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document(head, ended, sums), indent=2))
    else:
        click.echo()
        show(ping_text.closing(head, sums))


def _echo(line: ping_text.Line) -> None:
    click.secho(line.text, fg="red" if line.is_bad else None)
