"""What a process of ours may leave behind in the kernel and in /proc, and whether it is still there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")


@dataclass(frozen=True)
class KernelObjects:
    """Numbers of BPF programs and maps; the kernel gives none of them a second time."""

    programs: frozenset[int]
    maps: frozenset[int]

    @classmethod
    def of(cls, process_id: int) -> KernelObjects:
        """Those that the process holds by descriptor."""
        text = "\n".join(_texts((PROC / str(process_id) / "fdinfo").iterdir()))
        return cls(_numbers("prog_id", text), _numbers("map_id", text))

    def alive(self) -> KernelObjects:
        """Those of them that the kernel still has."""
        return KernelObjects(self.programs & _ids("prog"), self.maps & _ids("map"))

    def __or__(self, other: KernelObjects) -> KernelObjects:
        return KernelObjects(self.programs | other.programs, self.maps | other.maps)

    def __bool__(self) -> bool:
        return bool(self.programs or self.maps)


def maps_of_size(entries: int) -> set[int]:
    """The maps with so many entries."""
    return {shown["id"] for shown in _bpftool("map") if shown["max_entries"] == entries}


def processes_with(text: str) -> set[int]:
    """The processes, zombies apart, whose environment holds `text`."""
    return {
        int(directory.name)
        for directory in PROC.iterdir()
        if directory.name.isdecimal() and any(text in found for found in _texts([directory / "environ"]))
    }


def users_of_network(inode: int) -> list[str]:
    """What keeps the network namespace of that number alive: processes in it, descriptors, mounts."""
    name = f"net:[{inode}]"
    return [
        str(path)
        for process in PROC.iterdir()
        if process.name.isdecimal()
        for path in (*_entries(process / "fd"), process / "ns" / "net")
        if _target(path) == name
    ] + [line for line in (PROC / "self" / "mountinfo").read_text().splitlines() if name in line]


def network_of(process_id: int) -> int:
    """The number of the network namespace that the process is in."""
    return (PROC / str(process_id) / "ns" / "net").stat().st_ino


def _ids(kind: str) -> frozenset[int]:
    return frozenset(shown["id"] for shown in _bpftool(kind))


def _bpftool(kind: str) -> list[dict[str, Any]]:
    # it stops with an error when an object goes while it lists them
    for _ in range(20):
        shown = subprocess.run(["bpftool", "-j", kind, "show"], capture_output=True, text=True, check=False)
        if shown.returncode == 0:
            listed: list[dict[str, Any]] = json.loads(shown.stdout)
            return listed
    raise AssertionError(f"bpftool {kind} show: {shown.stdout} {shown.stderr}")


def _numbers(key: str, text: str) -> frozenset[int]:
    return frozenset(int(number) for number in re.findall(rf"^{key}:\t(\d+)$", text, re.MULTILINE))


def _texts(files: Iterator[Path] | list[Path]) -> Iterator[str]:
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


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
