"""Checks of what measuring at driver level needs: pure functions of the facts."""

from __future__ import annotations

from typing import Final

from monlat_ebpf.doctor.check import Check, Status
from monlat_ebpf.doctor.facts import Facts, Trial
from monlat_ebpf.host import capabilities
from monlat_ebpf.model import Result
from monlat_ebpf.probing.ledger import NOT_DELIVERED
from monlat_ebpf.sources.tracepoint.permission import MAPS_COUNT_BY_CGROUP, kernel_version, why_refused

_OLDEST_TESTED: Final = (5, 10)
_OLDEST_POSSIBLE: Final = (5, 5)
_ENOUGH_LOCKED_MEMORY: Final = 64 << 20
_RELEVANT_CAPABILITIES: Final = ("CAP_BPF", "CAP_PERFMON", "CAP_NET_RAW", "CAP_SYS_ADMIN")
_NO_PROC: Final = "not checked: /proc/self/status cannot be read"
_NET_RAW: Final = capabilities.mask_of(["CAP_NET_RAW"])


def kernel(facts: Facts) -> Check:
    """Check the kernel's version."""
    why = "memory-mapped maps need Linux 5.5; 5.10 is the oldest kernel that is tested"
    version = kernel_version(facts.release)
    if version < _OLDEST_POSSIBLE:
        return Check("kernel", Status.FAIL, facts.release, why, "use Linux 5.10 or later, or --source socket")
    if version < _OLDEST_TESTED:
        return Check("kernel", Status.WARN, facts.release, why, "use Linux 5.10 or later")
    return Check("kernel", Status.OK, facts.release, why)


def btf(facts: Facts) -> Check:
    """Check that the kernel describes its structs (BTF)."""
    why = "it gives the offsets in the kernel's structs, so that no kernel headers are needed"
    if facts.btf_error:
        return Check(
            "BTF", Status.FAIL, facts.btf_error, why, "use a kernel built with CONFIG_DEBUG_INFO_BTF=y, and mount /sys"
        )
    if facts.libbpf_error:
        return Check("BTF", Status.SKIP, "not checked: libbpf is missing", why)
    return Check("BTF", Status.OK, "/sys/kernel/btf/vmlinux is readable", why)


def libbpf(facts: Facts) -> Check:
    """Check the library that reads BTF."""
    why = "it reads the kernel's BTF"
    if facts.libbpf_error:
        return Check("libbpf", Status.FAIL, facts.libbpf_error, why, "install it (Debian: libbpf1)")
    return Check("libbpf", Status.OK, "loaded", why)


def bcc(facts: Facts) -> Check:
    """Check the compiler of the kernel program."""
    why = "it compiles and loads the kernel program"
    if facts.bcc_error:
        return Check(
            "BCC",
            Status.FAIL,
            facts.bcc_error,
            why,
            "install the distribution's package (Debian: python3-bpfcc), and use its /usr/bin/python3, in a virtual "
            "environment with --system-site-packages; uninstall the package bcc from PyPI, which is unrelated",
        )
    return Check("BCC", Status.OK, facts.bcc_version, why)


def rights(facts: Facts) -> Check:
    """Check the capabilities that the agent starts with."""
    why = "BPF and PERFMON load and attach the kernel program, NET_RAW opens the socket that sends"
    if facts.rights is None:
        return Check("capabilities", Status.SKIP, _NO_PROC, why, "mount /proc")
    held = facts.rights.capabilities
    missing = list(capabilities.missing_to_load(held))
    if not held & _NET_RAW:
        missing.append("CAP_NET_RAW")
    if missing:
        return Check(
            "capabilities",
            Status.FAIL,
            f"missing: {', '.join(missing)}",
            why,
            "run as root, or add them (in a pod: securityContext.capabilities.add: [BPF, PERFMON, NET_RAW])",
        )
    if not facts.rights.initial_user_namespace:
        refusal = why_refused(facts.rights)
        return Check(
            "capabilities", Status.FAIL, refusal.why if refusal else "", why, refusal.remedy if refusal else ""
        )
    relevant = [name for name in _RELEVANT_CAPABILITIES if held & capabilities.mask_of([name])]
    return Check("capabilities", Status.OK, ", ".join(relevant), why)


def bpf_call(facts: Facts) -> Check:
    """Check that neither seccomp nor lockdown nor a security module refuses the system call bpf."""
    why = "seccomp profiles, kernel lockdown and security modules can refuse bpf despite all capabilities"
    if facts.rights is None:
        return Check("bpf call", Status.SKIP, _NO_PROC, why, "mount /proc")
    refusal = why_refused(facts.rights)
    if capabilities.missing_to_load(facts.rights.capabilities) or not facts.rights.initial_user_namespace:
        return Check("bpf call", Status.SKIP, "not checked: capabilities are missing", why)
    if refusal is not None:
        return Check("bpf call", Status.FAIL, refusal.why, why, refusal.remedy)
    return Check("bpf call", Status.OK, "allowed", why)


def locked_memory(facts: Facts) -> Check:
    """Check the limit of locked memory, which old kernels apply to maps."""
    why = "kernels before 5.11 count the kernel program's maps as locked memory"
    if kernel_version(facts.release) >= MAPS_COUNT_BY_CGROUP:
        return Check("locked memory", Status.OK, "not limited by this kernel", why)
    if facts.rights is None:
        return Check("locked memory", Status.SKIP, _NO_PROC, why, "mount /proc")
    limit = facts.rights.locked_memory
    if limit is None:
        return Check("locked memory", Status.OK, "unlimited", why)
    if limit >= _ENOUGH_LOCKED_MEMORY or facts.rights.capabilities & capabilities.mask_of(["CAP_SYS_RESOURCE"]):
        return Check("locked memory", Status.OK, f"{limit} bytes, or as much as the agent requests", why)
    return Check(
        "locked memory",
        Status.WARN,
        f"{limit} bytes at most",
        why,
        "raise the limit (ulimit -l unlimited; systemd: LimitMEMLOCK=infinity), or add CAP_SYS_RESOURCE",
    )


def tracepoint(facts: Facts) -> Check:
    """End-to-end check: was the program loaded and attached, and did it measure a probe of this host?"""
    why = "this is the driver-level measurement itself, tried with loopback addresses"
    trial = facts.tracepoint
    if trial.error:
        return Check("tracepoint source", Status.FAIL, trial.error, why, "fix the failures above first, then this one")
    if _has_reply(trial):
        return Check("tracepoint source", Status.OK, _measured(trial), why)
    if _is_silent(trial):
        return Check(
            "tracepoint source",
            Status.FAIL,
            f"the program is attached, but its hooks do not fire: {_measured(trial)}",
            why,
            "report this with the kernel's version; --source socket does not need the hooks",
        )
    return Check(
        "tracepoint source",
        Status.WARN,
        f"loaded and attached, but this host does not answer itself: {_measured(trial)}",
        why,
        "see the checks echo and firewall below, and whether the interface lo is up",
    )


def socket_source(facts: Facts) -> Check:
    """End-to-end check of the fallback."""
    why = "the agent falls back to it when the tracepoint source is not available"
    trial = facts.socket
    if trial.error:
        return Check("socket source", Status.WARN, trial.error, why, "fix this, to have a fallback")
    if _has_reply(trial):
        return Check("socket source", Status.OK, _measured(trial), why)
    return Check(
        "socket source", Status.WARN, f"opened, but measured nothing: {_measured(trial)}", why, "see the checks below"
    )


def _has_reply(trial: Trial) -> bool:
    return any(
        each.result is Result.REPLY and each.rtt_ns is not None and each.stamped_by != "stack"
        for each in trial.measured
    )


def _is_silent(trial: Trial) -> bool:
    """Return whether a probe was sent, or even answered, but not seen by the hooks."""
    return any(
        (each.result is Result.LOST_HOST and each.error != NOT_DELIVERED)
        or (each.result is Result.REPLY and (each.rtt_ns is None or each.stamped_by == "stack"))
        for each in trial.measured
    )


def _measured(trial: Trial) -> str:
    parts = []
    for each in trial.measured:
        if each.rtt_ns is not None:
            parts.append(f"{each.address} in {each.rtt_ns / 1000:.0f} us")
        else:
            parts.append(f"{each.address} {each.result}{f' ({each.error})' if each.error else ''}")
    return ", ".join(parts)
