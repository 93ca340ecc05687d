"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """`fail`: an agent could not measure at driver level. `warn`: it could, but with a limitation.

    `skip`: this could not be checked, so nothing is known about it.
    """

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """What was found, why it matters, and how to fix it ("" if the status is ok, or if it needs no fix)."""

    name: str
    status: Status
    found: str
    why: str
    remedy: str = ""
