"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """`fail`: an agent could not measure at driver level. `warn`: it could, but with a limitation."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """What was found, why it matters, and how to fix it ("" if the status is ok)."""

    name: str
    status: Status
    found: str
    why: str
    remedy: str = ""
