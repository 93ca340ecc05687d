"""What a process may leave behind in the kernel and in /proc, and whether it is still there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from monlat_ebpf.testbed.syscalls import enter_network
from tests.kernel.kernel_objects import Objects

SO_NETNS_COOKIE: Final = 71  # asm-generic/socket.h
PROC = Path("/proc")


def objects_of_process(*process_ids: int) -> Objects:
    """The programs, maps and links that the processes hold by descriptor."""
    found = "".join(text for number in process_ids for text in _texts(_entries(PROC / str(number) / "fdinfo")))
    return Objects(*(tuple(sorted(_numbers(key, found))) for key in ("map_id", "prog_id", "link_id")))


def maps_of_size(entries: int) -> set[int]:
    """The maps with so many entries."""
    return {shown["id"] for shown in _all_maps() if shown["max_entries"] == entries}


def processes_with(text: str) -> set[int]:
    """The processes, zombies apart, whose environment holds `text`."""
    return {
        int(directory.name)
        for directory in PROC.iterdir()
        if directory.name.isdecimal() and any(text in found for found in _texts([directory / "environ"]))
    }


def networks_of(process_id: int) -> set[int]:
    """Cookies of the network namespaces that the process is in or has descriptors of."""
    directory = PROC / str(process_id)
    found = (_cookie(link) for link in (*_entries(directory / "fd"), directory / "ns" / "net"))
    return {cookie for cookie in found if cookie}


def networks_in_use() -> set[int]:
    """Cookies of the network namespaces that any process or mount on this machine keeps alive."""
    processes = [int(directory.name) for directory in PROC.iterdir() if directory.name.isdecimal()]
    mounts = [line.split()[4] for line in (PROC / "self" / "mountinfo").read_text().splitlines() if " net:[" in line]
    found = {cookie for mount in mounts if (cookie := _cookie(Path(mount), any_name=True))}
    return found.union(*map(networks_of, processes))


def _cookie(path: Path, *, any_name: bool = False) -> int | None:
    """The cookie of the network namespace at `path`, None where there is none. Unlike its inode, it is never reused."""
    try:
        if not any_name and not str(path.readlink()).startswith("net:["):
            return None
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter_network(descriptor)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside:
            return int.from_bytes(inside.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)
    finally:
        enter_network(here)
        os.close(here)
        os.close(descriptor)


def _all_maps() -> list[dict[str, Any]]:
    # bpftool stops with an error when a map disappears while it lists them.
    for _ in range(20):
        shown = subprocess.run(["bpftool", "-j", "map", "show"], capture_output=True, text=True, check=False)
        if shown.returncode == 0:
            listed: list[dict[str, Any]] = json.loads(shown.stdout)
            return listed
    raise AssertionError(f"bpftool map show: {shown.stdout} {shown.stderr}")


def _numbers(key: str, text: str) -> frozenset[int]:
    return frozenset(int(number) for number in re.findall(rf"^{key}:\t(\d+)$", text, re.MULTILINE))


def _texts(files: Iterable[Path]) -> Iterator[str]:
    """The files' texts, without those that are gone or never open."""
    for file in files:
        try:
            yield file.read_text(errors="replace")
        except OSError:
            continue


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []
