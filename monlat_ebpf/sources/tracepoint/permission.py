"""Finds out why the kernel refuses a kernel program, before anything is compiled.

`bpf` returns EPERM for five different reasons, and each has another remedy. `read_rights` reads files, the rest is
pure.
"""

from __future__ import annotations

import errno
import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monlat_ebpf.host import capabilities
from monlat_ebpf.sources.tracepoint import bpf_call

_INITIAL_USER_NAMESPACE: Final = "user:[4026531837]"  # PROC_USER_INIT_INO, linux/proc_ns.h
_MAP_CREATE: Final = 0  # every seccomp profile made for us allows it; a map without a type always gives EINVAL
_SECCOMP_FILTER: Final = 2  # proc(5)
MAPS_COUNT_BY_CGROUP: Final = (5, 11)
"""The first kernel that does not count the memory of maps against RLIMIT_MEMLOCK."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What decides whether this process may load a kernel program.

    `capabilities` is the effective set, a bit each. `bpf_errno` is the error of a bpf call with invalid arguments:
    EINVAL if the call itself is allowed, None if it was not tried. `lockdown` is "" if the kernel does not say.
    `locked_memory` is the limit in bytes, None if there is no limit.
    """

    capabilities: int
    bpf_errno: int | None = errno.EINVAL
    seccomp: int = 0
    initial_user_namespace: bool = True
    lockdown: str = ""
    kernel: tuple[int, int] = (6, 1)
    locked_memory: int | None = None
    own_monotonic_clock: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why loading fails, and how to fix it."""

    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.why}: {self.remedy}"


def why_refused(rights: Rights) -> Refusal | None:
    """Return the reason why every attempt to load fails, None if no reason is known."""
    missing = capabilities.missing_to_load(rights.capabilities)
    if missing:
        return Refusal(
            f"this process lacks {' and '.join(missing)}, without which no kernel program is loaded",
            "run it as root, or with CAP_BPF and CAP_PERFMON (in a pod: securityContext.capabilities.add; "
            "before Linux 5.8: CAP_SYS_ADMIN)",
        )
    if not rights.initial_user_namespace:
        return Refusal(
            "this process is in a user namespace of its own, where its capabilities do not count for bpf",
            "run it outside of that (in a pod: remove hostUsers: false; with podman: run it as root)",
        )
    if rights.bpf_errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        return _call_refused(rights, rights.bpf_errno)
    if rights.lockdown == "confidentiality":
        return Refusal(
            "the kernel is locked down (confidentiality), so no program may read kernel memory",
            "boot with lockdown=integrity or none, or use --source socket",
        )
    if rights.own_monotonic_clock:
        return Refusal(
            "this process is in a time namespace, whose CLOCK_MONOTONIC is not that of the kernel program",
            "run it outside of that, or use --source socket",
        )
    return None


def _call_refused(rights: Rights, number: int) -> Refusal:
    name = errno.errorcode[number]
    if rights.seccomp == _SECCOMP_FILTER:
        return Refusal(
            f"the seccomp profile of this container refuses the system call bpf ({name}), "
            "although the process has the capabilities",
            "use a profile that allows bpf (in a pod: securityContext.seccompProfile, as the overlay "
            "manifests/overlays/localhost-seccomp does; containerd from 1.6.8 and Docker from 23 allow it by "
            "default; podman and docker: --security-opt seccomp=FILE)",
        )
    if number == errno.ENOSYS:
        return Refusal(
            "this kernel has no system call bpf", "use a kernel built with CONFIG_BPF_SYSCALL=y, or --source socket"
        )
    return Refusal(
        f"a security module (SELinux, AppArmor or another) refuses the system call bpf ({name}), "
        "although the process has the capabilities",
        "look for its denial in the kernel's log (dmesg, ausearch -m avc) and allow it, or use --source socket",
    )


def what_may_refuse(rights: Rights, error: str) -> Refusal | None:
    """Return the likely reason why loading failed with the text `error`, None if no reason is known."""
    if os.strerror(errno.EPERM) not in error:
        return None
    if rights.locked_memory is not None and rights.kernel < MAPS_COUNT_BY_CGROUP:
        return Refusal(
            f"kernels before 5.11 count maps as locked memory, and this process may lock {rights.locked_memory} bytes",
            "raise the limit (ulimit -l unlimited; systemd: LimitMEMLOCK=infinity), or add CAP_SYS_RESOURCE",
        )
    return Refusal(
        "the process has the capabilities and may call bpf, so a security module (SELinux, AppArmor) may refuse it",
        "look for its denial in the kernel's log (dmesg, ausearch -m avc), or use --source socket",
    )


def read_rights() -> Rights:
    """Read the rights from this process and this kernel; load and change nothing."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return Rights(
        capabilities=capabilities.effective(status),
        bpf_errno=_try_bpf(),
        seccomp=seccomp_mode(status),
        initial_user_namespace=str(Path("/proc/self/ns/user").readlink()) == _INITIAL_USER_NAMESPACE,
        lockdown=lockdown_mode(_read_if_any(Path("/sys/kernel/security/lockdown"))),
        kernel=kernel_version(platform.release()),
        locked_memory=None if soft == resource.RLIM_INFINITY else soft,
        own_monotonic_clock=is_monotonic_shifted(_read_if_any(Path("/proc/self/timens_offsets"))),
    )


def seccomp_mode(status: str) -> int:
    """Return the seccomp mode from the text of /proc/PID/status: 0 off, 1 strict, 2 filter."""
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields.get("Seccomp", 0))


def kernel_version(release: str) -> tuple[int, int]:
    """Return major and minor of a kernel release such as 6.1.0-18-amd64; (0, 0) if it is something else."""
    parts = release.split("-")[0].split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return 0, 0


def lockdown_mode(text: str) -> str:
    """Return the mode in brackets from the text of /sys/kernel/security/lockdown: "none [integrity] ..."."""
    _, _, rest = text.partition("[")
    return rest.partition("]")[0]


def is_monotonic_shifted(text: str) -> bool:
    """Return whether CLOCK_MONOTONIC differs from the kernel's, from the text of /proc/PID/timens_offsets."""
    return any(line.startswith("monotonic") and set(line.split()[1:]) != {"0"} for line in text.splitlines())


def _read_if_any(path: Path) -> str:
    """Return the text of a file that not every kernel has, "" where it is missing."""
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _try_bpf() -> int | None:
    """Call bpf(2) for a map without a type, and return the error."""
    if not bpf_call.is_known():
        return None
    try:
        bpf_call.bpf(_MAP_CREATE)
    except OSError as error:
        return error.errno
    return 0
