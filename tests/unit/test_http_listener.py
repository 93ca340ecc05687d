"""Listening on a host without IPv6."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from monlat_ebpf.errors import ConfigError
from monlat_ebpf.exposition.http import MetricsServer
from tests.unit.http_server import ROUTES

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


def test_server_listens_on_addresses_of_both_families() -> None:
    """Each has its own port here, and each serves its family alone; `close` closes both."""
    server = MetricsServer([("127.0.0.1", 0), ("::1", 0)], ROUTES)
    with server:
        for address, port in zip(("127.0.0.1", "::1"), server.ports, strict=True):
            connection = http.client.HTTPConnection(address, port, timeout=20)
            with closing(connection):
                connection.request("GET", "/")
                with connection.getresponse() as answer:
                    assert answer.read() == b"index\n"
    for address, port in zip(("127.0.0.1", "::1"), server.ports, strict=True):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port), timeout=20)


def test_address_that_fails_closes_the_ones_before() -> None:
    """The port of the first is free again."""
    with MetricsServer([("127.0.0.1", 0)], ROUTES) as taken:
        port = taken.port
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        MetricsServer([("127.0.0.1", port), ("192.0.2.1", port)], ROUTES)
    with MetricsServer([("127.0.0.1", port)], ROUTES):
        pass


def test_any_address_falls_back_to_ipv4() -> None:
    """On a kernel without IPv6, [::] listens on every IPv4 address."""
    child = subprocess.run([sys.executable, "-c", WITHOUT_IPV6], capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout.split(), child.stderr) == (0, ["0.0.0.0", "connected"], "")
