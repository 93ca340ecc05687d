"""Runs a command under a seccomp filter that makes bpf(2) fail with EPERM, like podman's default profile.

python -m tests.kernel.refusing_bpf COMMAND...
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

BPF_CALL = {"x86_64": 321, "aarch64": 280}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
RETURN_ERRNO, ALLOW = 0x00050000, 0x7FFF0000  # linux/seccomp.h


def main() -> None:
    program = b"".join(
        struct.pack("=HBBI", *step)
        for step in (
            (LOAD_WORD, 0, 0, 0),  # seccomp_data.nr
            (JUMP_EQUAL, 0, 1, BPF_CALL[platform.machine()]),
            (RETURN, 0, 0, RETURN_ERRNO | errno.EPERM),
            (RETURN, 0, 0, ALLOW),
        )
    )
    steps = ctypes.create_string_buffer(program)
    filter_ = ctypes.create_string_buffer(struct.pack("HL", len(program) // 8, ctypes.addressof(steps)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_, 0, 0) == 0, os.strerror(ctypes.get_errno())
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  # the command must run without a shell


if __name__ == "__main__":
    main()
