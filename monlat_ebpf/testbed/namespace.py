"""A network namespace that ends with the process that created it."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.syscalls import enter_network, unshare_network

SIOCSIFFLAGS = 0x8914  # linux/sockios.h
IFF_UP = 0x1

# The kernel sends the parent-death signal when the *thread* that started the child ends. This thread lives as long as
# the process.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="testbed-spawner")


class Namespace:
    """A network namespace whose loopback is up. Only an open descriptor keeps it alive.

    It has no name under /run/netns and no process of its own. The kernel frees it with all its links when the
    descriptor is closed and the last socket and process inside have ended, also after SIGKILL of the owner. IPv6
    addresses are usable at once (no duplicate address detection).

    `name` is for messages only. Raises TestbedError if the kernel refuses, for example without rights.
    """

    def __init__(self, name: str = "namespace") -> None:
        self.name = name
        self._descriptor = _new_network_namespace()
        try:
            for scope in ("all", "default"):
                self.sysctl(f"net.ipv6.conf.{scope}.accept_dad", 0)
                self.sysctl(f"net.ipv6.conf.{scope}.accept_ra", 0)
            with self.entered():
                _raise_loopback()
        except BaseException:
            self.close()
            raise

    @classmethod
    def current(cls, name: str = "here") -> Self:
        """Return the namespace of the calling thread, without changing it."""
        namespace = cls.__new__(cls)
        namespace.name = name
        namespace._descriptor = _open_own_namespace()
        return namespace

    @property
    def descriptor(self) -> int:
        """The descriptor that keeps the namespace alive. Raises TestbedError after close()."""
        if self._descriptor < 0:
            raise TestbedError(f"namespace {self.name} is closed: use it inside its `with` block")
        return self._descriptor

    @property
    def path(self) -> str:
        """A path for `nsenter --net=PATH`, valid while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    @property
    def inode(self) -> int:
        """The number of the namespace, as in `net:[4026532008]`."""
        return os.fstat(self.descriptor).st_ino

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread into the namespace for the block. Sockets created there stay inside."""
        outside = _open_own_namespace()
        try:
            enter_network(self.descriptor)
            try:
                yield
            finally:
                enter_network(outside)
        finally:
            os.close(outside)

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process inside. `options` are those of subprocess.Popen.

        It is killed when this process ends, for whatever reason. Raises TestbedError if the program does not exist.
        """
        if shutil.which(argv[0]) is None:
            raise TestbedError(f"cannot start {argv[0]} in namespace {self.name}: no such program on PATH")
        return _spawner.submit(self._popen, ("setpriv", "--pdeathsig", "KILL", "--", *argv), options).result()

    def _popen(self, argv: Sequence[str], options: dict[str, Any]) -> subprocess.Popen[Any]:
        with self.entered():
            return subprocess.Popen(argv, **options)

    def run(self, argv: Sequence[str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command inside, at most `timeout` seconds, and return its output and exit status.

        Raises subprocess.TimeoutExpired.
        """
        process = self.popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return subprocess.CompletedProcess(argv, process.returncode, output, errors)

    def sysctl(self, key: str, value: int | str) -> None:
        """Set a kernel setting of this namespace, `key` such as net.ipv4.ip_forward. Raises TestbedError."""
        try:
            with self.entered():
                Path("/proc/sys", *key.split(".")).write_text(f"{value}\n")
        except OSError as error:
            raise TestbedError(f"cannot set {key} to {value} in namespace {self.name}: {error}") from error

    def close(self) -> None:
        """Close the descriptor; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Namespace({self.name!r})"


def _new_network_namespace() -> int:
    """Return a descriptor of a new network namespace. The calling thread stays in its own."""
    made: list[int | OSError] = []

    def make() -> None:
        try:
            unshare_network()
            made.append(_open_own_namespace())
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make, name="testbed-namespace")
    thread.start()
    thread.join()
    result = made[0]
    if isinstance(result, OSError):
        raise TestbedError(f"cannot create a network namespace ({result}): run as root, or with CAP_SYS_ADMIN")
    return result


def _open_own_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
