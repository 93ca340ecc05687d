"""The options of the commands that ask an agent: which one, and how it knows them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from monlat_ebpf.cli.options import setting
from monlat_ebpf.exposition.client import DEFAULT_URLS
from monlat_ebpf.exposition.client_access import ClientAccess


def asking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --url, --ca, --cert and --user-file; pass `url` and `access` to `command`."""

    @setting(
        "--url",
        metavar="URL",
        show_default=DEFAULT_URLS[0],
        help="URL of the agent to ask. Without it: the agent on this node.",
    )
    @setting(
        "--ca",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="CA of an agent with TLS, in place of the system's.",
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
        help="File with USER:PASSWORD for an agent that asks for them.",
    )
    @functools.wraps(command)
    def with_access(*, ca: Path | None, cert: Path | None, user_file: Path | None, **others: Any) -> Any:
        return command(access=ClientAccess(ca, cert, user_file), **others)

    result: Callable[..., Any] = with_access
    return result
