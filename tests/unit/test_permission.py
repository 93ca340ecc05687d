"""Five reasons for one EPERM, told apart by what the process knows."""

from __future__ import annotations

import errno

import pytest

from monlat_ebpf.sources.tracepoint.permission import (
    Rights,
    is_monotonic_shifted,
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
def test_process_with_all_rights_is_not_refused(held: int) -> None:
    """BPF and PERFMON, or SYS_ADMIN: there is no reason, with and without seccomp."""
    assert why_refused(Rights(held)) is None
    assert why_refused(Rights(held, seccomp=2, lockdown="integrity", bpf_errno=None)) is None


def test_missing_capability_is_named_first() -> None:
    """PERFMON is missing and other things are wrong as well: it is needed in any case."""
    refusal = why_refused(
        Rights(BPF, bpf_errno=errno.EPERM, seccomp=2, initial_user_namespace=False, lockdown="confidentiality")
    )
    assert refusal is not None
    assert refusal.why == "this process lacks CAP_PERFMON, without which no kernel program is loaded"
    assert "securityContext.capabilities.add" in refusal.remedy


def test_capabilities_in_a_user_namespace_do_not_count() -> None:
    """All capabilities, but in a user namespace: the kernel wants them in the initial one."""
    refusal = why_refused(Rights(ENOUGH, initial_user_namespace=False))
    assert refusal is not None
    assert "user namespace" in refusal.why
    assert "hostUsers" in refusal.remedy


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_refused_call_with_a_filter_names_seccomp(number: int) -> None:
    """All capabilities, filter on, call refused: the profile and the manifest with the remedy are named."""
    refusal = why_refused(Rights(ENOUGH, bpf_errno=number, seccomp=2))
    assert refusal is not None
    assert "seccomp" in refusal.why
    assert errno.errorcode[number] in refusal.why
    assert "securityContext.seccompProfile" in refusal.remedy


def test_refused_call_without_a_filter_names_security_modules() -> None:
    """All capabilities, no filter: SELinux or a similar module is the only reason left."""
    refusal = why_refused(Rights(ENOUGH, bpf_errno=errno.EPERM, seccomp=0))
    assert refusal is not None
    assert "SELinux" in refusal.why


def test_missing_system_call_names_the_kernel_option() -> None:
    """ENOSYS without a filter comes from a kernel built without bpf."""
    refusal = why_refused(Rights(ENOUGH, bpf_errno=errno.ENOSYS))
    assert refusal is not None
    assert "CONFIG_BPF_SYSCALL" in refusal.remedy


def test_lockdown_for_confidentiality_forbids_reading_kernel_memory() -> None:
    """Only this mode does; integrity allows reading."""
    refusal = why_refused(Rights(ENOUGH, lockdown="confidentiality"))
    assert refusal is not None
    assert "locked down" in refusal.why


def test_locked_memory_is_suspected_only_on_old_kernels() -> None:
    """EPERM with all rights: on 5.10 because of the limit on locked memory, on 5.11 of a security module."""
    old = what_may_refuse(Rights(ENOUGH, kernel=(5, 10), locked_memory=65536), EPERM_TEXT)
    new = what_may_refuse(Rights(ENOUGH, kernel=(5, 11), locked_memory=65536), EPERM_TEXT)
    assert old is not None
    assert new is not None
    assert "65536 bytes" in old.why
    assert "LimitMEMLOCK" in old.remedy
    assert "security module" in new.why


def test_no_reason_is_guessed_for_another_error() -> None:
    """Errors of the verifier or the compiler have nothing to do with rights."""
    assert what_may_refuse(Rights(ENOUGH), "Failed to load BPF program: Invalid argument") is None


def test_files_of_the_kernel_are_parsed() -> None:
    """Fields of /proc/self/status, /sys/kernel/security/lockdown and uname."""
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


@pytest.mark.parametrize(
    ("text", "shifted"),
    [
        ("monotonic        -500         0\nboottime            0         0\n", True),
        ("monotonic           0       250\nboottime            0         0\n", True),
        ("monotonic           0         0\nboottime          100         0\n", False),
        ("", False),
    ],
)
def test_time_namespace_with_another_monotonic_clock_is_refused(text: str, shifted: bool) -> None:
    """The kernel program's clock is not this process's: one is compared with the other. Boot time is not used."""
    assert is_monotonic_shifted(text) is shifted
    refusal = why_refused(Rights(ENOUGH, own_monotonic_clock=shifted))
    assert (refusal is not None) is shifted
    if refusal is not None:
        assert "time namespace" in str(refusal)
        assert "--source socket" in str(refusal)
