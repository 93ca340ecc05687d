"""How often the programs of hooks ran, and a source with one receive hook only."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.sources.tracepoint.loader import Loaded
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from tests.kernel.kernel_objects import LIBBPF, details


def count_hits() -> None:
    """Let the kernel count how often each program runs, from now on."""
    Path("/proc/sys/kernel/bpf_stats_enabled").write_text("1", encoding="ascii")


def hits(source: TracepointSource) -> Mapping[str, int]:
    """Return how often the program of each hook ran, for any packet of the machine."""
    programs = {hook: details(link) for hook, link in _links(source).items()}
    return {hook: _runs(int(said["prog_id"])) for hook, said in programs.items() if "prog_id" in said}


def one_receive_hook(wanted: str, size: TableSize) -> TracepointSource:
    """Return a source whose only receive hook is `wanted`: every receive stamp is from that hook."""
    source = TracepointSource(size)
    nothing = os.open("/dev/null", os.O_RDONLY)
    for hook, link in _links(source).items():
        if hook not in ("net_dev_start_xmit", wanted):
            os.dup2(nothing, link, inheritable=False)  # the last descriptor of the link: it detaches
    os.close(nothing)
    return source


def _links(source: TracepointSource) -> Mapping[str, int]:
    loaded = source._loaded
    assert isinstance(loaded, Loaded)
    return loaded.hooks


def _runs(program: int) -> int:
    descriptor = LIBBPF.bpf_prog_get_fd_by_id(ctypes.c_uint32(program))
    assert descriptor >= 0, os.strerror(-descriptor)
    try:
        return int(details(descriptor)["run_cnt"])
    finally:
        os.close(descriptor)
