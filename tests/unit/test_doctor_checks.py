"""Every check of the doctor's, from facts alone: any machine can be had here."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from monlat_ebpf.doctor.check import Check, Status
from monlat_ebpf.doctor.examine import document, examine, is_ok
from monlat_ebpf.doctor.facts import Facts, Firewall, Measured, Port, Trial
from monlat_ebpf.model import Result
from monlat_ebpf.sources.tracepoint.permission import Rights
from tests.unit.healthy_machine import BPF, HEALTHY, MEASURED, NET_RAW, PERFMON, SYS_ADMIN, SYS_RESOURCE

RIGHTS = HEALTHY.rights
UNANSWERED = Trial(measured=(Measured("127.0.0.1", Result.LOST_NETWORK), Measured("::1", Result.LOST_NETWORK)))
NO_LOOPBACK = Trial(measured=(Measured("127.0.0.1", Result.SEND_ERROR, error="ENETUNREACH"),))
UNSEEN = Trial(measured=(Measured("127.0.0.1", Result.LOST_HOST), Measured("::1", Result.REPLY)))
IPV4_ALONE = Trial(measured=(MEASURED.measured[0], Measured("::1", Result.SEND_ERROR, error="EADDRNOTAVAIL")))


def amiss(facts: Facts) -> list[Check]:
    return [check for check in examine(facts) if check.status is not Status.OK]


def test_a_healthy_machine_has_nothing_to_mend() -> None:
    """Thirteen checks, all well, each saying why it is made and none how to fix what is not broken."""
    checks = examine(HEALTHY)
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
    ("tracepoint source", "fail", "do not fire", replace(HEALTHY, tracepoint=UNSEEN)),
    ("tracepoint source", "warn", "127.0.0.1 lost_network", replace(HEALTHY, tracepoint=UNANSWERED)),
    ("tracepoint source", "warn", "ENETUNREACH", replace(HEALTHY, tracepoint=NO_LOOPBACK)),
    ("socket source", "warn", "no raw socket", replace(HEALTHY, socket=Trial(error="no raw socket"))),
    ("socket source", "warn", "measured nothing", replace(HEALTHY, socket=UNANSWERED)),
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
def test_one_thing_amiss_is_one_check_that_says_how_to_mend_it(
    name: str, status: str, found: str, facts: Facts
) -> None:
    """Its own check and no other, with what was found; only a `fail` makes the machine unfit."""
    (check,) = amiss(facts)
    assert (check.name, check.status) == (name, status)
    assert found in check.found
    assert check.why
    assert check.remedy
    assert is_ok(examine(facts)) == (status == "warn")


@pytest.mark.parametrize(
    "facts",
    [
        replace(HEALTHY, rights=Rights(SYS_ADMIN | NET_RAW)),
        replace(HEALTHY, rights=replace(RIGHTS, kernel=(5, 10), locked_memory=None)),
        replace(HEALTHY, rights=replace(RIGHTS, kernel=(5, 11), locked_memory=65536)),
        replace(HEALTHY, rights=Rights(BPF | PERFMON | NET_RAW | SYS_RESOURCE, kernel=(5, 10), locked_memory=65536)),
        replace(HEALTHY, rights=replace(RIGHTS, seccomp=2, lockdown="integrity")),
        replace(HEALTHY, tracepoint=IPV4_ALONE, socket=IPV4_ALONE),
        replace(HEALTHY, port_state=Port.AGENT),
        replace(HEALTHY, firewall=Firewall(unknown="nft is not installed")),
        replace(HEALTHY, sysctls={}),
        replace(HEALTHY, sysctls={**HEALTHY.sysctls, "net.ipv4.icmp_ratelimit": "0", "net.ipv4.icmp_ratemask": "6169"}),
    ],
)
def test_what_is_unusual_but_no_trouble_is_not_reported(facts: Facts) -> None:
    """SYS_ADMIN instead of BPF, no IPv6, a filter that admits, an agent at the port, a limit of 0, which is none."""
    assert amiss(facts) == []


def test_the_document() -> None:
    """The form that --json prints: ok, and five strings a check."""
    printed = document(examine(replace(HEALTHY, port_state=Port.TAKEN)))
    assert printed["ok"] is True
    assert printed["checks"][-1] == {
        "name": "port",
        "status": "warn",
        "found": "TCP port 10045 is taken, and not by an agent",
        "why": "the agent serves its measurements there",
        "remedy": "end what listens there (ss -ltnp 'sport = :10045'), or give the agent another port with --listen",
    }
    assert document(examine(replace(HEALTHY, bcc_error="none")))["ok"] is False
