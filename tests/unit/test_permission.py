"""Five reasons for one EPERM, told apart from facts alone."""

from __future__ import annotations

import errno

import pytest

from monlat_ebpf.sources.tracepoint.permission import (
    Rights,
    kernel_version,
    lockdown_mode,
    seccomp_mode,
    what_may_refuse,
    why_refused,
)

NET_RAW, SYS_ADMIN, PERFMON, BPF = (1 << bit for bit in (13, 21, 38, 39))  # linux/capability.h
ENOUGH = BPF | PERFMON | NET_RAW
EPERM_TEXT = "Failed to load BPF program b'monlat_transmit': Operation not permitted"


@pytest.mark.parametrize("held", [ENOUGH, SYS_ADMIN])
def test_nothing_refuses_a_process_with_its_rights(held: int) -> None:
    """BPF and PERFMON, or SYS_ADMIN: no reason is made up, seccomp being on or not."""
    assert why_refused(Rights(held)) is None
    assert why_refused(Rights(held, seccomp=2, lockdown="integrity", bpf_errno=None)) is None


def test_a_missing_capability_is_named_before_all_else() -> None:
    """Without PERFMON, whatever else is wrong as well: it has to be given in any case."""
    refusal = why_refused(
        Rights(BPF, bpf_errno=errno.EPERM, seccomp=2, initial_user_namespace=False, lockdown="confidentiality")
    )
    assert refusal is not None
    assert refusal.why == "this process lacks CAP_PERFMON, without which no kernel program is loaded"
    assert "securityContext.capabilities.add" in refusal.remedy


def test_a_user_namespace_makes_capabilities_worthless() -> None:
    """All capabilities, but inside a user namespace: the kernel asks for those of the initial one."""
    refusal = why_refused(Rights(ENOUGH, initial_user_namespace=False))
    assert refusal is not None
    assert "user namespace" in refusal.why
    assert "hostUsers" in refusal.remedy


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_seccomp_is_what_refuses_the_call_where_a_filter_is_on(number: int) -> None:
    """Capabilities held, filter on, call refused: the profile, and the manifest that remedies it, are named."""
    refusal = why_refused(Rights(ENOUGH, bpf_errno=number, seccomp=2))
    assert refusal is not None
    assert "seccomp" in refusal.why
    assert errno.errorcode[number] in refusal.why
    assert "securityContext.seccompProfile" in refusal.remedy


def test_without_a_filter_a_refused_call_is_a_security_modules() -> None:
    """Capabilities held, no filter: SELinux and its like are left."""
    refusal = why_refused(Rights(ENOUGH, bpf_errno=errno.EPERM, seccomp=0))
    assert refusal is not None
    assert "SELinux" in refusal.why


def test_a_kernel_without_the_call_says_so_itself() -> None:
    """ENOSYS without a filter is a kernel built without it."""
    refusal = why_refused(Rights(ENOUGH, bpf_errno=errno.ENOSYS))
    assert refusal is not None
    assert "CONFIG_BPF_SYSCALL" in refusal.remedy


def test_lockdown_for_confidentiality_forbids_reading_kernel_memory() -> None:
    """Only this mode does; integrity lets programs read."""
    refusal = why_refused(Rights(ENOUGH, lockdown="confidentiality"))
    assert refusal is not None
    assert "locked down" in refusal.why


def test_locked_memory_is_suspected_on_old_kernels_alone() -> None:
    """EPERM with every right: on 5.10 the limit on locked memory, on 5.11 a security module."""
    old = what_may_refuse(Rights(ENOUGH, kernel=(5, 10), locked_memory=65536), EPERM_TEXT)
    new = what_may_refuse(Rights(ENOUGH, kernel=(5, 11), locked_memory=65536), EPERM_TEXT)
    assert old is not None
    assert new is not None
    assert "65536 bytes" in old.why
    assert "LimitMEMLOCK" in old.remedy
    assert "security module" in new.why


def test_no_reason_is_guessed_for_another_error() -> None:
    """What the verifier or the compiler refuses is no matter of rights."""
    assert what_may_refuse(Rights(ENOUGH), "Failed to load BPF program: Invalid argument") is None


def test_what_the_kernels_files_say() -> None:
    """Fields of /proc/self/status, /sys/kernel/security/lockdown and uname, by hand."""
    assert seccomp_mode("Name:\tpython3\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n") == 2
    assert seccomp_mode("Name:\tpython3\n") == 0
    assert lockdown_mode("none [integrity] confidentiality\n") == "integrity"
    assert lockdown_mode("") == ""
    assert [kernel_version(text) for text in ("6.1.0-18-amd64", "5.10.209", "6.18.44-fc", "odd")] == [
        (6, 1),
        (5, 10),
        (6, 18),
        (0, 0),
    ]
