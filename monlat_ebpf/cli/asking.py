"""The options of the commands that ask an agent or a collector: which one, and how it knows them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from monlat_ebpf.cli.options import setting
from monlat_ebpf.collector.config import DEFAULT_PORT as COLLECTOR_PORT
from monlat_ebpf.exposition.client import DEFAULT_URLS
from monlat_ebpf.exposition.client_access import ClientAccess

COLLECTOR_URL = f"http://127.0.0.1:{COLLECTOR_PORT}"

Command = Callable[..., Any]


def asking_options(command: Command) -> Command:
    """Add --url, --ca, --cert and --user-file; pass `url` and `access` of an agent to `command`."""
    url = setting(
        "--url",
        metavar="URL",
        show_default=DEFAULT_URLS[0],
        help="URL of the agent to ask. Without it: the agent on this node.",
    )
    decorated: Command = url(access_options("an agent")(command))
    return decorated


def collector_options(command: Command) -> Command:
    """Add --url, --ca, --cert and --user-file; pass `url` and `access` of a collector to `command`."""
    url = setting(
        "--url",
        metavar="URL",
        default=COLLECTOR_URL,
        show_default=True,
        help="URL of the collector (`monlat collect`).",
    )
    decorated: Command = url(access_options("a collector")(command))
    return decorated


def access_options(whose: str) -> Callable[[Command], Command]:
    """Return what adds --ca, --cert and --user-file to a command, which gets them as `access`.

    `whose`: who is asked, "an agent".
    """

    def add(command: Command) -> Command:
        @setting(
            "--ca",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"CA of {whose} with TLS, in place of the system's.",
        )
        @setting(
            "--cert",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Client certificate and its key, in one PEM file.",
        )
        @setting(
            "--user-file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"File with USER:PASSWORD for {whose} that asks for them.",
        )
        @functools.wraps(command)
        def with_access(*, ca: Path | None, cert: Path | None, user_file: Path | None, **others: Any) -> Any:
            return command(access=ClientAccess(ca, cert, user_file), **others)

        decorated: Command = with_access
        return decorated

    return add
