"""The diagnosis on one thing that measuring depends on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """`fail`: the agent could not measure at driver level. `warn`: it could, but something will be missed."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's: what was found, why it matters, how to fix it ("" where all is well)."""

    name: str
    status: Status
    found: str
    why: str
    remedy: str = ""
