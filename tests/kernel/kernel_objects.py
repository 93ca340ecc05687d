"""Programs, maps and links of the kernel by their numbers, through libbpf."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import NamedTuple

from monlat_ebpf.sources.tracepoint.loader import Loaded
from testkit.waiting import wait_until

LIBBPF = ctypes.CDLL("libbpf.so.1")


class Objects(NamedTuple):
    """The numbers of the maps, programs and links of one loaded program."""

    maps: tuple[int, ...]
    programs: tuple[int, ...]
    links: tuple[int, ...]

    def alive(self) -> list[str]:
        """Return those that the kernel still has."""
        numbers = [("map", number) for number in self.maps]
        numbers += [("prog", number) for number in self.programs]
        numbers += [("link", number) for number in self.links]
        return [f"{kind} {number}" for kind, number in numbers if _exists(kind, number)]

    def wait_until_gone(self) -> None:
        """Return when the kernel has freed all of them, which it does a grace period after the last use."""
        wait_until(lambda: not self.alive(), f"some of {self} are not freed")


def details(descriptor: int) -> dict[str, str]:
    """Return what the kernel says of one of this process's descriptors."""
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="utf-8").splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def objects_of(loaded: Loaded) -> Objects:
    """Return the numbers behind the descriptors of `loaded`."""
    hooks = [details(descriptor) for descriptor in loaded.hooks.values()]  # the receive hooks share a program
    programs = {int(each["prog_id"]) for each in (*hooks, *map(details, loaded.filters.values()))}
    return Objects(
        tuple(int(details(descriptor)["map_id"]) for descriptor in loaded.maps.values()),
        tuple(programs),
        tuple(int(hook["link_id"]) for hook in hooks),
    )


def _exists(kind: str, number: int) -> bool:
    descriptor = getattr(LIBBPF, f"bpf_{kind}_get_fd_by_id")(ctypes.c_uint32(number))
    if descriptor < 0:
        assert descriptor == -2, os.strerror(-descriptor)  # only ENOENT means that it is gone
        return False
    os.close(descriptor)
    return True
