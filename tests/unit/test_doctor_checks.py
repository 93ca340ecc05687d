"""Every check of the doctor, with facts that describe any machine."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from monlat_ebpf.doctor.check import Check, Status
from monlat_ebpf.doctor.checks import conclusion, document, is_ok, run_checks
from monlat_ebpf.doctor.facts import Facts, Firewall, Measured, NetworkPath, Port, Trial
from monlat_ebpf.model import Result
from monlat_ebpf.sources.tracepoint.permission import Rights
from tests.unit.healthy_machine import BPF, BY_DRIVER, HEALTHY, MEASURED, NET_RAW, PERFMON, SYS_ADMIN, SYS_RESOURCE

RIGHTS = Rights(BPF | PERFMON | NET_RAW)
NO_REPLY = Trial(measured=(Measured("127.0.0.1", Result.LOST_NETWORK), Measured("::1", Result.LOST_NETWORK)))
NO_LOOPBACK = Trial(measured=(Measured("127.0.0.1", Result.SEND_ERROR, error="ENETUNREACH"),))
SILENT_HOOKS = Trial(measured=(Measured("127.0.0.1", Result.LOST_HOST), Measured("::1", Result.REPLY)))
ONLY_IPV4 = Trial(measured=(MEASURED.measured[0], Measured("::1", Result.SEND_ERROR, error="EADDRNOTAVAIL")))
STACK_STAMPS = Trial(measured=(Measured("127.0.0.1", Result.REPLY, 13_000, device="lo", stamped_by="stack"),))
DROPPED = Trial(measured=(Measured("127.0.0.1", Result.LOST_HOST, error="not_delivered"),))
LOST = Measured("10.0.0.2", Result.LOST_NETWORK)
BY_STACK = replace(BY_DRIVER, rtt_ns=49_000, stamped_by="stack")


def tried(trial: Trial) -> Facts:
    """Change the loopback probes, but not those of other addresses."""
    return replace(HEALTHY, tracepoint=replace(trial, beyond=HEALTHY.tracepoint.beyond))


def beyond(*probes: Measured) -> Facts:
    return replace(HEALTHY, tracepoint=replace(HEALTHY.tracepoint, beyond=probes))


def lost(result: Result, error: str = "") -> Facts:
    return beyond(*[Measured("10.0.0.2", result, error=error)] * 5)


def not_ok(facts: Facts) -> list[Check]:
    return [check for check in run_checks(facts) if check.status in (Status.WARN, Status.FAIL)]


def skipped(facts: Facts) -> dict[str, str]:
    return {check.name: check.found for check in run_checks(facts) if check.status is Status.SKIP}


def with_kernel(
    major: int, minor: int, locked_memory: int | None, capabilities: int = BPF | PERFMON | NET_RAW
) -> Facts:
    rights = Rights(capabilities, kernel=(major, minor), locked_memory=locked_memory)
    return replace(HEALTHY, release=f"{major}.{minor}.0", rights=rights)


def test_every_check_is_ok_on_a_healthy_machine() -> None:
    """Sixteen checks. Each says why it matters, and none has a remedy."""
    checks = run_checks(HEALTHY)
    assert [check.status for check in checks] == [Status.OK] * 16
    assert len({check.name for check in checks}) == 16
    assert all(check.found and check.why and not check.remedy for check in checks)
    assert is_ok(checks)


STACK_ALONE = beyond(*[BY_STACK] * 5)
BREAKAGES = [
    ("kernel", "fail", "5.4.0-1", replace(HEALTHY, release="5.4.0-1")),
    ("kernel", "warn", "5.9.1", replace(HEALTHY, release="5.9.1")),
    ("BTF", "fail", "is missing", replace(HEALTHY, btf_error="/sys/kernel/btf/vmlinux is missing")),
    ("libbpf", "fail", "no libbpf", replace(HEALTHY, libbpf_error="no libbpf")),
    ("BCC", "fail", "No module named 'bcc'", replace(HEALTHY, bcc_error="No module named 'bcc'")),
    ("capabilities", "fail", "CAP_PERFMON", replace(HEALTHY, rights=replace(RIGHTS, capabilities=BPF | NET_RAW))),
    ("capabilities", "fail", "CAP_NET_RAW", replace(HEALTHY, rights=replace(RIGHTS, capabilities=SYS_ADMIN))),
    ("capabilities", "fail", "user namespace", replace(HEALTHY, rights=replace(RIGHTS, initial_user_namespace=False))),
    ("bpf call", "fail", "seccomp", replace(HEALTHY, rights=replace(RIGHTS, bpf_errno=errno.EPERM, seccomp=2))),
    ("bpf call", "fail", "SELinux", replace(HEALTHY, rights=replace(RIGHTS, bpf_errno=errno.EACCES))),
    ("bpf call", "fail", "locked down", replace(HEALTHY, rights=replace(RIGHTS, lockdown="confidentiality"))),
    ("locked memory", "warn", "65536", with_kernel(5, 10, 65536)),
    ("tracepoint source", "fail", "the verifier", replace(HEALTHY, tracepoint=Trial(error="the verifier says no"))),
    ("tracepoint source", "fail", "do not fire", tried(SILENT_HOOKS)),
    ("tracepoint source", "fail", "do not fire", tried(STACK_STAMPS)),
    ("tracepoint source", "warn", "not_delivered", tried(DROPPED)),
    ("tracepoint source", "warn", "127.0.0.1 lost_network", tried(NO_REPLY)),
    ("tracepoint source", "warn", "ENETUNREACH", tried(NO_LOOPBACK)),
    ("socket source", "warn", "no raw socket", replace(HEALTHY, socket=Trial(error="no raw socket"))),
    ("socket source", "warn", "measured nothing", replace(HEALTHY, socket=NO_REPLY)),
    ("firewall", "warn", "a drop", replace(HEALTHY, firewall=Firewall(stopping=("a drop",)))),
    ("port", "warn", "10045", replace(HEALTHY, port_state=Port.TAKEN)),
    (
        "path 10.0.0.2",
        "fail",
        "5 of 5 probes through eth0 answered, 5 of the replies stamped by the stack",
        STACK_ALONE,
    ),
    ("path 10.0.0.2", "warn", "3 of the replies stamped by the stack", beyond(*[BY_STACK] * 3, *[BY_DRIVER] * 2)),
    ("path 10.0.0.2", "fail", "5 without an RTT", beyond(*[replace(BY_DRIVER, rtt_ns=None)] * 5)),
    ("path 10.0.0.2", "fail", "5 replies reached the driver, and this host", lost(Result.LOST_HOST, "not_delivered")),
    ("path 10.0.0.2", "fail", "refused 5 requests (EPERM)", lost(Result.SEND_ERROR, "EPERM")),
    ("path 10.0.0.2", "warn", "5 requests did not reach a driver", lost(Result.LOST_HOST)),
    ("path 10.0.0.2", "warn", "sending failed (ENETDOWN)", lost(Result.SEND_ERROR, "ENETDOWN")),
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
        with_kernel(5, 10, None),
        with_kernel(5, 11, 65536),
        with_kernel(5, 10, 65536, BPF | PERFMON | NET_RAW | SYS_RESOURCE),
        replace(HEALTHY, rights=replace(RIGHTS, seccomp=2, lockdown="integrity")),
        replace(tried(ONLY_IPV4), socket=ONLY_IPV4),
        replace(HEALTHY, port_state=Port.AGENT),
        replace(HEALTHY, sysctls={**HEALTHY.sysctls, "net.ipv4.icmp_ratelimit": "0", "net.ipv4.icmp_ratemask": "6169"}),
    ],
)
def test_unusual_but_harmless_facts_are_ok(facts: Facts) -> None:
    """Such as SYS_ADMIN instead of BPF, no IPv6, a seccomp filter that allows bpf, a rate limit of 0 (none)."""
    assert not_ok(facts) == []


def at_address(**changed: str) -> Facts:
    return replace(beyond(), paths=(NetworkPath("10.0.0.2", **changed),))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (replace(HEALTHY, rights=None), {"capabilities": "/proc/self/status", "bpf call": "/proc/self/status"}),
        (replace(HEALTHY, sysctls={}), {"echo": "/proc/sys/net", "echo rate": "/proc/sys/net"}),
        (replace(HEALTHY, firewall=Firewall(unknown="nft is not installed")), {"firewall": "nft is not installed"}),
        (replace(HEALTHY, libbpf_error="no libbpf"), {"BTF": "libbpf is missing"}),
        (replace(HEALTHY, rights=replace(RIGHTS, capabilities=NET_RAW)), {"bpf call": "capabilities are missing"}),
        (replace(HEALTHY, tracepoint=Trial(error="no BTF")), {"path 10.0.0.2": "there is no tracepoint source"}),
        (replace(HEALTHY, paths=()), {"path": "there is no default gateway, no agent with peers, and no ADDRESS"}),
        (lost(Result.LOST_NETWORK), {"path 10.0.0.2": "node2: not tested: 10.0.0.2 does not answer through eth0"}),
        (lost(Result.UNREACHABLE, "no_neighbour"), {"path 10.0.0.2": "nobody has the address 10.0.0.2"}),
        (lost(Result.UNREACHABLE, "port_unreachable"), {"path 10.0.0.2": "is unreachable (port_unreachable)"}),
        (at_address(error="no route to 10.0.0.2"), {"path 10.0.0.2": "not tested: no route to 10.0.0.2"}),
    ],
)
def test_what_cannot_be_seen_is_skipped_with_the_reason(facts: Facts, expected: dict[str, str]) -> None:
    """It is neither ok nor a problem of this machine."""
    found = skipped(facts)
    assert found.keys() == expected.keys()
    assert all(expected[name] in found[name] for name in expected)


def test_one_answer_of_five_is_enough() -> None:
    """A gateway that limits the rate of its replies shows who stamps them, all the same."""
    (path,) = (check for check in run_checks(beyond(BY_DRIVER, *[LOST] * 4)) if check.name == "path 10.0.0.2")
    assert path.status is Status.OK
    assert path.found == "node2: 1 of 5 probes through eth0 answered, stamped by the driver, in 43 us"


def test_device_that_delivered_the_replies_is_named() -> None:
    """The route leads through eth0; the replies come through eth1, where only the stack stamps them."""
    (check,) = not_ok(beyond(*[replace(BY_STACK, device="eth1")] * 5))
    assert "at the driver of eth1" in check.found
    assert "ethtool -i eth1" in check.remedy
    assert "microseconds of this host's stack and scheduling" in check.why


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (HEALTHY, "an agent can measure at driver level here"),
        (STACK_ALONE, "an agent cannot measure at driver level here"),
        (lost(Result.LOST_NETWORK), "the kernel program works here, but no reply from another machine was seen at the"),
        (
            replace(HEALTHY, paths=()),
            "the kernel program works here, but no reply from another machine was seen at the",
        ),
    ],
)
def test_conclusion_claims_no_more_than_was_seen(facts: Facts, expected: str) -> None:
    """Loopback alone does not show that the replies of peers get a driver's stamp."""
    assert conclusion(run_checks(facts)).startswith(expected)


def test_json_document_has_the_facts_of_a_path_in_seconds() -> None:
    """Two replies by the driver, one by the stack, two probes lost; the shortest RTT is 43 us."""
    facts = beyond(replace(BY_DRIVER, rtt_ns=51_000), BY_DRIVER, BY_STACK, LOST, LOST)
    assert document(facts, [])["paths"] == [
        {
            "address": "10.0.0.2",
            "owner": "node2",
            "device": "eth0",
            "error": "",
            "results": {"reply": 3, "lost_network": 2},
            "errors": {},
            "reply_device": "eth0",
            "stamped_by": {"driver": 2, "stack": 1},
            "min_rtt_seconds": 0.000043,
        }
    ]


def test_json_document() -> None:
    """`ok`, and five strings per check."""
    facts = replace(HEALTHY, port_state=Port.TAKEN)
    printed = document(facts, run_checks(facts))
    assert printed["ok"] is True
    (port,) = (check for check in printed["checks"] if check["name"] == "port")
    assert port == {
        "name": "port",
        "status": "warn",
        "found": "TCP port 10045 is used by another program",
        "why": "the agent serves its measurements on it",
        "remedy": "stop the program that listens there (ss -ltnp 'sport = :10045'), "
        "or choose another port with --listen",
    }
    assert document(facts, run_checks(replace(HEALTHY, bcc_error="none")))["ok"] is False
