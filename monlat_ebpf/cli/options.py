"""The flags of all commands: each has an environment variable, and the types that click does not have.

Rule for the variables: `--node-name` is MONLAT_NODE_NAME.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import Any, Final

import click

from monlat_ebpf.config import DEFAULT_PORT, HIGHEST_DSCP, PeerChoice
from monlat_ebpf.config_text import duration_text, variable_of
from monlat_ebpf.model import Address, HistogramKind

_NANOSECONDS: Final = {"us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION: Final = re.compile(r"(?P<number>-?(\d{1,9}(\.\d{0,9})?|\.\d{1,9}))(?P<unit>us|ms|s|m|h)?", re.ASCII)
_LISTEN: Final = re.compile(r"(?:\[(?P<bracketed>[^\[\]]*)\]|(?P<plain>.*)):(?P<port>\d{1,9})", re.ASCII)
_HOST_NAME: Final = re.compile(
    r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII | re.IGNORECASE
)


def setting(flag: str, *names: str, **attributes: Any) -> Callable[[Any], Any]:
    """Return click's option `--flag` with its environment variable. `names` and `attributes` are click's."""
    return click.option(flag, *names, envvar=variable_of(flag.removeprefix("--")), show_envvar=True, **attributes)


class Duration(click.ParamType[float]):
    """A number and a unit, for example 200ms, 1.5s or 2m, as seconds.

    Zero needs no unit. With `plain_seconds`, any number without a unit is in seconds.
    """

    name = "duration"

    def __init__(self, shortest: float = -math.inf, longest: float = math.inf, *, plain_seconds: bool = False) -> None:
        self._shortest, self._longest, self._plain_seconds = shortest, longest, plain_seconds

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse `value`, and check its range."""
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            example = "for example 1s, 200ms or 0.5s"
            self.fail(f"{value!r} is not a duration; write a number and a unit, {example}", param, ctx)
        number, unit = match["number"], match["unit"]
        if unit is None and float(number) and not self._plain_seconds:
            self.fail(f"{value!r} has no unit; write {number}s or {number}ms", param, ctx)
        seconds = round(float(number) * _NANOSECONDS[unit or "s"]) / 10**9
        if not self._shortest <= seconds <= self._longest:
            limits = f"{duration_text(self._shortest)} to {duration_text(self._longest)}"
            self.fail(f"{value!r} is out of range; give {limits}", param, ctx)
        return seconds


class Listen(click.ParamType[tuple[str, int]]):
    """HOST:PORT as host and port. An IPv6 address is in brackets; without a host, the host is `::`.

    An IPv4 address may have brackets as well: a manifest can write [$(NODE_ADDRESS)]:PORT for either family.
    """

    name = "host:port"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Parse `value`. AgentConfig checks the range of the port."""
        match = _LISTEN.fullmatch(value.strip())
        if match is None:
            examples = f"for example [::]:{DEFAULT_PORT}, 127.0.0.1:{DEFAULT_PORT} or :{DEFAULT_PORT}"
            self.fail(f"{value!r} is not HOST:PORT; write {examples}", param, ctx)
        bracketed, plain, port = match["bracketed"], match["plain"], int(match["port"])
        if bracketed is not None:
            if not _is_address(IPv6Address, bracketed) and not _is_address(IPv4Address, bracketed):
                example = f"for example [::]:{port}"
                self.fail(f"{bracketed!r} is not an address; only those have brackets, {example}", param, ctx)
            return bracketed, port
        if ":" in plain:
            self.fail(f"{value!r} is ambiguous; write the IPv6 address in brackets, as in [::1]:{port}", param, ctx)
        if plain and not _is_address(IPv4Address, plain) and not _is_host_name(plain):
            example = f"for example 127.0.0.1:{port}"
            self.fail(f"{plain!r} is neither an address nor a host name; write {example}", param, ctx)
        return plain or "::", port


class IpAddress(click.ParamType[Address]):
    """An IPv4 or IPv6 address. A link-local one names its interface, as in fe80::1%eth0."""

    name = "address"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        """Parse `value`."""
        try:
            return ip_address(value.strip())
        except ValueError:
            self.fail(f"{value!r} is not an IPv4 or IPv6 address; write for example 10.0.0.2 or fd00::2", param, ctx)


class Degree(click.ParamType[int | PeerChoice]):
    """A number of peers, or `all` or `auto`."""

    name = "degree"

    def convert(
        self, value: str | PeerChoice, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | PeerChoice:
        """Parse `value`. AgentConfig checks the range of the number."""
        text = value.strip().lower()
        if text in list(PeerChoice):
            return PeerChoice(text)
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
            self.fail(
                f"{value!r} is not a number of nodes; write an even number such as 32, or all or auto", param, ctx
            )
        return int(text)


class Histograms(click.ParamType[tuple[HistogramKind, ...]]):
    """Names of histograms with commas between them, or `none`."""

    name = "histograms"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[HistogramKind, ...]:
        """Parse `value`; the order of the names is of no importance."""
        names = [name.strip().lower() for name in value.split(",")]
        if names == ["none"]:
            return ()
        if unknown := [name for name in names if name not in tuple(HistogramKind)]:
            known = ", ".join(HistogramKind)
            self.fail(f"{unknown[0]!r} is no histogram; write names of {known} with commas, or none", param, ctx)
        return tuple(kind for kind in HistogramKind if kind in names)


def dscp_option() -> Callable[[Any], Any]:
    """Return the option `--dscp`, which agent and ping share."""
    return setting(
        "--dscp",
        type=click.IntRange(0, HIGHEST_DSCP),
        metavar="N",
        default=0,
        show_default=True,
        help="Differentiated services code point of the probes, for example 46 (EF). A Linux peer replies with it.",
    )


def _is_address(kind: type[IPv4Address | IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except AddressValueError:
        return False
    return True


def _is_host_name(text: str) -> bool:
    """Return True if `text` can be a host name. One whose last part has only digits is a mistyped address."""
    return bool(_HOST_NAME.fullmatch(text)) and not text.rpartition(".")[2].isdigit()
