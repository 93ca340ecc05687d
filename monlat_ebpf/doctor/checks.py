"""All checks, in the order of the output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypedDict

from monlat_ebpf.doctor import kernel_checks, link_checks, network_checks, path_checks
from monlat_ebpf.doctor.check import Check, Status
from monlat_ebpf.doctor.facts import Facts
from monlat_ebpf.doctor.path_checks import PathDocument, path_document

CHECKS: Final[Sequence[Callable[[Facts], Check]]] = (
    kernel_checks.kernel,
    kernel_checks.btf,
    kernel_checks.libbpf,
    kernel_checks.bcc,
    kernel_checks.rights,
    kernel_checks.bpf_call,
    kernel_checks.locked_memory,
    kernel_checks.tracepoint,
    kernel_checks.socket_source,
    network_checks.echo,
    network_checks.echo_rate,
    network_checks.firewall,
    link_checks.link_addresses,
    network_checks.ping_sockets,
    network_checks.port,
)


class CheckDocument(TypedDict):
    """One check. `status` is ok, warn, fail or skip (not checked). `remedy` is "" if the status is ok."""

    name: str
    status: str
    found: str
    why: str
    remedy: str


class DoctorDocument(TypedDict):
    """The output of --json. `ok`: nothing was found that stops an agent from measuring at driver level."""

    ok: bool
    checks: list[CheckDocument]
    paths: list[PathDocument]


def run_checks(facts: Facts) -> list[Check]:
    """Return the result of every check. Where no agent runs, it has no probes to check."""
    of_agent = [] if facts.unlisted is None else [network_checks.own_address(facts.unlisted)]
    return [*(check(facts) for check in CHECKS), *of_agent, *path_checks.paths(facts)]


def is_ok(checks: Sequence[Check]) -> bool:
    """Return whether nothing stops an agent from measuring at driver level."""
    return all(check.status is not Status.FAIL for check in checks)


def conclusion(checks: Sequence[Check]) -> str:
    """Return the last line of the output."""
    if not is_ok(checks):
        return "an agent cannot measure at driver level here"
    if not path_checks.is_confirmed(checks):
        return "the kernel program works here, but no reply from another machine was seen at the driver"
    return "an agent can measure at driver level here"


def document(facts: Facts, checks: Sequence[Check]) -> DoctorDocument:
    """Return facts and results in the format of --json."""
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
        "paths": [path_document(facts, path) for path in facts.paths],
    }
