"""Every check of the doctor, with facts that describe any machine."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from monlat_ebpf.doctor.check import Check, Status
from monlat_ebpf.doctor.checks import document, is_ok, run_checks
from monlat_ebpf.doctor.facts import Facts, Firewall, Measured, Port, Trial
from monlat_ebpf.model import Result
from monlat_ebpf.sources.tracepoint.permission import Rights
from tests.unit.healthy_machine import BPF, HEALTHY, MEASURED, NET_RAW, PERFMON, SYS_ADMIN, SYS_RESOURCE

RIGHTS = HEALTHY.rights
NO_REPLY = Trial(measured=(Measured("127.0.0.1", Result.LOST_NETWORK), Measured("::1", Result.LOST_NETWORK)))
NO_LOOPBACK = Trial(measured=(Measured("127.0.0.1", Result.SEND_ERROR, error="ENETUNREACH"),))
SILENT_HOOKS = Trial(measured=(Measured("127.0.0.1", Result.LOST_HOST), Measured("::1", Result.REPLY)))
ONLY_IPV4 = Trial(measured=(MEASURED.measured[0], Measured("::1", Result.SEND_ERROR, error="EADDRNOTAVAIL")))


def not_ok(facts: Facts) -> list[Check]:
    return [check for check in run_checks(facts) if check.status is not Status.OK]


def test_every_check_is_ok_on_a_healthy_machine() -> None:
    """Thirteen checks. Each says why it matters, and none has a remedy."""
    checks = run_checks(HEALTHY)
    assert [check.status for check in checks] == [Status.OK] * 13
    assert len({check.name for check in checks}) == 13
    assert all(check.found and check.why and not check.remedy for check in checks)
    assert is_ok(checks)


BREAKAGES = [
    ("kernel", "fail", "5.4.0-1", replace(HEALTHY, release="5.4.0-1", rights=replace(RIGHTS, kernel=(5, 4)))),
    ("kernel", "warn", "5.9.1", replace(HEALTHY, release="5.9.1", rights=replace(RIGHTS, kernel=(5, 9)))),
    ("BTF", "fail", "is missing", replace(HEALTHY, btf_error="/sys/kernel/btf/vmlinux is missing")),
    ("libbpf", "fail", "no libbpf", replace(HEALTHY, libbpf_error="no libbpf")),
    ("BCC", "fail", "No module named 'bcc'", replace(HEALTHY, bcc_error="No module named 'bcc'")),
    ("capabilities", "fail", "CAP_PERFMON", replace(HEALTHY, rights=replace(RIGHTS, capabilities=BPF | NET_RAW))),
    ("capabilities", "fail", "CAP_NET_RAW", replace(HEALTHY, rights=replace(RIGHTS, capabilities=SYS_ADMIN))),
    ("capabilities", "fail", "user namespace", replace(HEALTHY, rights=replace(RIGHTS, initial_user_namespace=False))),
    ("bpf call", "fail", "seccomp", replace(HEALTHY, rights=replace(RIGHTS, bpf_errno=errno.EPERM, seccomp=2))),
    ("bpf call", "fail", "SELinux", replace(HEALTHY, rights=replace(RIGHTS, bpf_errno=errno.EACCES))),
    ("bpf call", "fail", "locked down", replace(HEALTHY, rights=replace(RIGHTS, lockdown="confidentiality"))),
    ("locked memory", "warn", "65536", replace(HEALTHY, rights=replace(RIGHTS, kernel=(5, 10), locked_memory=65536))),
    ("tracepoint source", "fail", "the verifier", replace(HEALTHY, tracepoint=Trial(error="the verifier says no"))),
    ("tracepoint source", "fail", "do not fire", replace(HEALTHY, tracepoint=SILENT_HOOKS)),
    ("tracepoint source", "warn", "127.0.0.1 lost_network", replace(HEALTHY, tracepoint=NO_REPLY)),
    ("tracepoint source", "warn", "ENETUNREACH", replace(HEALTHY, tracepoint=NO_LOOPBACK)),
    ("socket source", "warn", "no raw socket", replace(HEALTHY, socket=Trial(error="no raw socket"))),
    ("socket source", "warn", "measured nothing", replace(HEALTHY, socket=NO_REPLY)),
    ("firewall", "warn", "a drop", replace(HEALTHY, firewall=Firewall(stopping=("a drop",)))),
    ("port", "warn", "10045", replace(HEALTHY, port_state=Port.TAKEN)),
    (
        "echo",
        "warn",
        "net.ipv6.icmp.echo_ignore_all=1",
        replace(HEALTHY, sysctls={**HEALTHY.sysctls, "net.ipv6.icmp.echo_ignore_all": "1"}),
    ),
    (
        "echo rate",  # bit 0, the type of an echo reply, added to the kernel's 6168
        "warn",
        "net.ipv4.icmp_ratemask=6169",
        replace(HEALTHY, sysctls={**HEALTHY.sysctls, "net.ipv4.icmp_ratemask": "6169"}),
    ),
    (
        "echo rate",
        "warn",
        "net.ipv6.icmp.ratemask=0-1,3-255",
        replace(HEALTHY, sysctls={**HEALTHY.sysctls, "net.ipv6.icmp.ratemask": "0-1,3-255"}),
    ),
]


@pytest.mark.parametrize(("name", "status", "found", "facts"), BREAKAGES)
def test_one_defect_fails_one_check_which_names_the_remedy(name: str, status: str, found: str, facts: Facts) -> None:
    """Only a `fail` makes the machine unfit; a `warn` does not."""
    (check,) = not_ok(facts)
    assert (check.name, check.status) == (name, status)
    assert found in check.found
    assert check.why
    assert check.remedy
    assert is_ok(run_checks(facts)) == (status == "warn")


@pytest.mark.parametrize(
    "facts",
    [
        replace(HEALTHY, rights=Rights(SYS_ADMIN | NET_RAW)),
        replace(HEALTHY, rights=replace(RIGHTS, kernel=(5, 10), locked_memory=None)),
        replace(HEALTHY, rights=replace(RIGHTS, kernel=(5, 11), locked_memory=65536)),
        replace(HEALTHY, rights=Rights(BPF | PERFMON | NET_RAW | SYS_RESOURCE, kernel=(5, 10), locked_memory=65536)),
        replace(HEALTHY, rights=replace(RIGHTS, seccomp=2, lockdown="integrity")),
        replace(HEALTHY, tracepoint=ONLY_IPV4, socket=ONLY_IPV4),
        replace(HEALTHY, port_state=Port.AGENT),
        replace(HEALTHY, firewall=Firewall(unknown="nft is not installed")),
        replace(HEALTHY, sysctls={}),
        replace(HEALTHY, sysctls={**HEALTHY.sysctls, "net.ipv4.icmp_ratelimit": "0", "net.ipv4.icmp_ratemask": "6169"}),
    ],
)
def test_unusual_but_harmless_facts_are_ok(facts: Facts) -> None:
    """Such as SYS_ADMIN instead of BPF, no IPv6, a seccomp filter that allows bpf, a rate limit of 0 (none)."""
    assert not_ok(facts) == []


def test_json_document() -> None:
    """`ok`, and five strings per check."""
    printed = document(run_checks(replace(HEALTHY, port_state=Port.TAKEN)))
    assert printed["ok"] is True
    assert printed["checks"][-1] == {
        "name": "port",
        "status": "warn",
        "found": "TCP port 10045 is used by another program",
        "why": "the agent serves its measurements on it",
        "remedy": "stop the program that listens there (ss -ltnp 'sport = :10045'), "
        "or choose another port with --listen",
    }
    assert document(run_checks(replace(HEALTHY, bcc_error="none")))["ok"] is False
