"""The programs that bench/packet_cost compares, each loaded once for each hook, and what the kernel says of their runs.

monlat attaches one program to all its receive hooks, so its own statistics are sums over them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monlat_ebpf.abi import layout

ROOT = Path(__file__).resolve().parent.parent
FEWEST = 0.1  # of the runs at the hook that has most: with fewer, it does not see this traffic

EMPTY, ONE_READ, EARLIER, MONLAT = "empty", "one read", "earlier", "monlat"

OTHERS = """
int empty(struct bpf_raw_tracepoint_args *ctx) { return 0; }
int one_read(struct bpf_raw_tracepoint_args *ctx)
{
	u64 window[SKB_WINDOW_BYTES / 8];

	return bpf_probe_read_kernel(window, sizeof(window), (const char *)ctx->args[0] + SKB_WINDOW) != 0;
}
"""

DESCRIBE = """
import json
from monlat_ebpf.sources.tracepoint import program
from monlat_ebpf.sources.tracepoint.btf import KernelTypes
try:
    from monlat_ebpf.abi.probes import TableSize
    size = TableSize(2)
except ImportError:  # the packages of an earlier tree: the size is a number of slots
    size = 2 * 16
defines = program.defines(KernelTypes(), size)
print(json.dumps({"text": program.text(), "defines": defines, "hooks": dict(program.HOOKS)}))
"""
"""Run with a tree's own modules: prints what its loader would give to the compiler."""


@dataclass(frozen=True, slots=True)
class Description:
    """The text of a kernel program, its macros, and its function for each hook."""

    text: str
    defines: Mapping[str, int]
    hooks: Mapping[str, str]


def describe(tree: Path) -> Description:
    """Ask the modules of `tree` for its program."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE], cwd=tree, env=environment, stdout=subprocess.PIPE, check=True
    )
    return Description(**json.loads(done.stdout))


def describe_commit(commit: str) -> Description:
    """Ask the modules of a commit of this repository."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tempfile.TemporaryDirectory() as tree:
        subprocess.run(["tar", "--extract", "--directory", tree], input=archive, check=True)
        return describe(Path(tree))


class Programs:
    """Programs by name and hook, compiled and loaded; those of one name can be attached at a time."""

    def __init__(self, against: str | None) -> None:
        os.environ["BCC_KERNEL_SOURCE"] = str(layout.program_directory() / "headers")
        from bcc import BPF  # reads the environment

        ours = describe(ROOT)
        self._loaded: dict[tuple[str, str], tuple[Any, str, int]] = {}

        def load(description: Description, hook: str, functions: Mapping[str, str]) -> None:
            cflags = [f"-D{name}={value}" for name, value in description.defines.items()]
            module = BPF(text=description.text + OTHERS, cflags=cflags)
            for name, function in functions.items():
                descriptor = module.load_func(function, BPF.RAW_TRACEPOINT).fd
                self._loaded[name, hook] = (module, function, descriptor)

        for hook, function in ours.hooks.items():
            load(ours, hook, {EMPTY: "empty", ONE_READ: "one_read", MONLAT: function})
        if against is not None:
            earlier = describe_commit(against)
            for hook, function in earlier.hooks.items():
                load(earlier, hook, {EARLIER: function})
        self.names = list(dict.fromkeys(name for name, _ in self._loaded))
        self.hooks = list(ours.hooks)

    def costs(self, name: str, traffic: Callable[[], None]) -> Iterator[tuple[str, float]]:
        """Attach the programs of a name while `traffic` runs; yield each hook and the ns per run."""
        chosen = {hook: self._loaded[name, hook] for hook in self.hooks if (name, hook) in self._loaded}
        before = {hook: _runs(descriptor) for hook, (_, _, descriptor) in chosen.items()}
        for hook, (module, function, _) in chosen.items():
            module.attach_raw_tracepoint(tp=hook, fn_name=function)
        try:
            traffic()
        finally:
            for hook, (module, _, _) in chosen.items():
                module.detach_raw_tracepoint(tp=hook)
        runs = {hook: _runs(descriptor) - before[hook] for hook, (_, _, descriptor) in chosen.items()}
        most = max(each.count for each in runs.values())
        for hook, each in runs.items():
            if each.count > most * FEWEST:
                yield hook, each.time_ns / each.count


@dataclass(frozen=True, slots=True)
class Runs:
    """How often a program ran, and for how long in all."""

    count: int
    time_ns: int

    def __sub__(self, earlier: Runs) -> Runs:
        return Runs(self.count - earlier.count, self.time_ns - earlier.time_ns)


def _runs(descriptor: int) -> Runs:
    """Return the runs of a program so far (bpf_prog_show_fdinfo)."""
    info = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    fields = dict(line.split(":", 1) for line in info.splitlines())
    return Runs(int(fields["run_cnt"]), int(fields["run_time_ns"]))
