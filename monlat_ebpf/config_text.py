"""The text of flags and environment variables, read into values: pure.

Each function takes the flag's name without dashes ("listen") and raises ConfigError that names flag and variable.
"""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NoReturn, TypeVar

from monlat_ebpf.errors import ConfigError

_NANOSECONDS: Final = {"us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION: Final = re.compile(r"(?P<number>-?\d{1,9}(?:\.\d{1,9})?)(?P<unit>us|ms|s|m|h)?", re.ASCII)
_COUNT: Final = re.compile(r"-?\d{1,9}", re.ASCII)
_LISTEN: Final = re.compile(r"(?:\[(?P<bracketed>[^\[\]]*)\]|(?P<plain>.*)):(?P<port>\d{1,9})", re.ASCII)
_HOST_NAME: Final = re.compile(
    r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII | re.IGNORECASE
)
_LAST_PORT: Final = 65_535

Choice = TypeVar("Choice", bound=StrEnum)


def variable_of(flag: str) -> str:
    """Return the environment variable that stands for `--flag`."""
    return "MONLAT_" + flag.upper().replace("-", "_")


def refuse(flag: str, reason: str) -> NoReturn:
    """Raise ConfigError: `reason` follows the names of flag and variable."""
    raise ConfigError(f"--{flag} ({variable_of(flag)}): {reason}")


def duration_text(seconds: float) -> str:
    """Write a duration as a flag takes it: 0.2 is 200ms, 1.5 is 1.5s."""
    return f"{seconds * 1000:g}ms" if abs(seconds) < 1 else f"{seconds:g}s"


def parse_duration(text: str, flag: str) -> float:
    """Return the seconds that `text` says: a number and us, ms, s, m or h; zero needs no unit."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        refuse(flag, f"{text!r} is no duration; write a number and a unit, for example 1s, 200ms or 0.5s")
    number, unit = float(found["number"]), found["unit"]
    if unit is None and number:
        refuse(
            flag, f"{text!r} has no unit; write {found['number']}s for seconds or {found['number']}ms for milliseconds"
        )
    return round(number * _NANOSECONDS[unit or "s"]) / 10**9


def parse_count(text: str, flag: str) -> int:
    """Return the whole number that `text` says."""
    if not _COUNT.fullmatch(text.strip()):
        refuse(flag, f"{text!r} is no whole number; write digits, for example 1000")
    return int(text)


def parse_choice(text: str, flag: str, choices: type[Choice]) -> Choice:
    """Return the member of `choices` that `text` names."""
    try:
        return choices(text.strip())
    except ValueError:
        refuse(flag, f"{text!r} is unknown; choose one of {', '.join(choices)}")


def parse_listen(text: str, flag: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`; an IPv6 address stands in brackets, no host at all means `::`."""
    found = _LISTEN.fullmatch(text.strip())
    if found is None:
        refuse(flag, f"{text!r} is not HOST:PORT; write for example [::]:10045, 127.0.0.1:10045 or :10045")
    port = int(found["port"])
    if port > _LAST_PORT:
        refuse(flag, f"port {port} of {text!r} does not exist; the last one is {_LAST_PORT}")
    bracketed, plain = found["bracketed"], found["plain"]
    if bracketed is not None:
        if not _is_ipv6(bracketed):
            refuse(flag, f"{bracketed!r} is no IPv6 address; brackets hold nothing else, for example [::]:{port}")
        return bracketed, port
    if ":" in plain:
        refuse(flag, f"{text!r} is ambiguous; put the IPv6 address in brackets, for example [::1]:{port}")
    if plain and not _is_ipv4(plain) and not _is_host_name(plain):
        refuse(flag, f"{plain!r} is neither an address nor a host name; write for example 127.0.0.1:{port}")
    return plain or "::", port


def _is_ipv6(text: str) -> bool:
    try:
        return bool(IPv6Address(text).compressed)
    except AddressValueError:
        return False


def _is_ipv4(text: str) -> bool:
    try:
        return bool(IPv4Address(text).compressed)
    except AddressValueError:
        return False


def _is_host_name(text: str) -> bool:
    """Say whether `text` can be a host's name; one whose last part is all digits is a mistyped address."""
    return bool(_HOST_NAME.fullmatch(text)) and not text.rpartition(".")[2].isdigit()
