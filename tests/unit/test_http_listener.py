"""Listening on a host without IPv6."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_IPV6 = """
import ctypes, errno, platform, socket, struct

# A seccomp filter (linux/filter.h) that answers EAFNOSUPPORT to socket(AF_INET6, …), as a kernel without IPv6 does.
SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
LOAD, IS, RETURN = 0x20, 0x15, 0x06
rules = [
    (LOAD, 0, 0, 0),                                  # the system call's number
    (IS, 0, 3, SOCKET),
    (LOAD, 0, 0, 16),                                 # its first argument: the family
    (IS, 0, 1, socket.AF_INET6),
    (RETURN, 0, 0, 0x00050000 | errno.EAFNOSUPPORT),
    (RETURN, 0, 0, 0x7FFF0000),                       # any other call is allowed
]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0                # PR_SET_NO_NEW_PRIVS
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(program)))
assert libc.prctl(22, 2, filter, 0, 0) == 0, ctypes.get_errno()  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER

from monlat_ebpf.exposition.listener import listen
with listen("::", 0) as listener:
    print(listener.getsockname()[0])
    with socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        print("connected")
"""


def test_any_address_falls_back_to_ipv4() -> None:
    """On a kernel without IPv6, [::] listens on every IPv4 address."""
    child = subprocess.run([sys.executable, "-c", WITHOUT_IPV6], capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout.split(), child.stderr) == (0, ["0.0.0.0", "connected"], "")
