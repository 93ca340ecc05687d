"""Flags that environment variables can stand for, all by one rule: `--node-name` is MONLAT_NODE_NAME."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from monlat_ebpf.config_text import variable_of


def setting(
    flag: str, *names: str, parse: Callable[[str, str], Any] | None = None, **attributes: Any
) -> Callable[[Any], Any]:
    """Return click's option `--flag` with its environment variable.

    `parse(text, flag)` reads its value and raises ConfigError; `names` and `attributes` are click's.
    """
    name = flag.removeprefix("--")
    if parse is not None:

        def read(text: str) -> Any:
            return parse(text, name)

        attributes["type"] = read
    return click.option(flag, *names, envvar=variable_of(name), show_envvar=True, **attributes)
