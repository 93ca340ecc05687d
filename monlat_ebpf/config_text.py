"""How messages name a setting and write its value. Pure."""

from __future__ import annotations

from typing import NoReturn

from monlat_ebpf.errors import ConfigError


def variable_of(flag: str) -> str:
    """Return the environment variable of `--flag`."""
    return "MONLAT_" + flag.upper().replace("-", "_")


def refuse(flag: str, reason: str) -> NoReturn:
    """Raise ConfigError. Its text names the flag and its variable, then gives `reason`."""
    raise ConfigError(f"--{flag} ({variable_of(flag)}): {reason}")


def duration_text(seconds: float) -> str:
    """Write a duration in the form that flags accept: 0.2 is 200ms, 1.5 is 1.5s."""
    return f"{seconds * 1000:g}ms" if abs(seconds) < 1 else f"{seconds:g}s"
