"""All checks, in the order of the output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypedDict

from monlat_ebpf.doctor import answering, measuring
from monlat_ebpf.doctor.check import Check, Status
from monlat_ebpf.doctor.facts import Facts

CHECKS: Final[Sequence[Callable[[Facts], Check]]] = (
    measuring.kernel,
    measuring.btf,
    measuring.libbpf,
    measuring.bcc,
    measuring.rights,
    measuring.bpf_call,
    measuring.locked_memory,
    measuring.tracepoint,
    measuring.socket_source,
    answering.echo,
    answering.echo_rate,
    answering.firewall,
    answering.port,
)


class CheckDocument(TypedDict):
    """One check; `remedy` is "" where all is well."""

    name: str
    status: str
    found: str
    why: str
    remedy: str


class DoctorDocument(TypedDict):
    """What --json prints. `ok`: an agent started like this could measure at driver level."""

    ok: bool
    checks: list[CheckDocument]


def examine(facts: Facts) -> list[Check]:
    """Return the diagnosis of every check."""
    return [check(facts) for check in CHECKS]


def is_ok(checks: Sequence[Check]) -> bool:
    """Whether an agent could measure at driver level."""
    return all(check.status is not Status.FAIL for check in checks)


def document(checks: Sequence[Check]) -> DoctorDocument:
    """Return the diagnoses as --json prints them."""
    return {
        "ok": is_ok(checks),
        "checks": [
            {
                "name": check.name,
                "status": check.status.value,
                "found": check.found,
                "why": check.why,
                "remedy": check.remedy,
            }
            for check in checks
        ],
    }
