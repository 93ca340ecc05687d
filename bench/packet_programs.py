"""The programs that bench/packet_cost compares, each loaded once for each hook, and what the kernel says of their runs.

The programs have typed arguments, as monlat's hooks do; those of earlier commits may be untyped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monlat_ebpf.abi import layout
from monlat_ebpf.sources.tracepoint import typed_hooks
from monlat_ebpf.sources.tracepoint.btf import KernelTypes

ROOT = Path(__file__).resolve().parent.parent
FEWEST = 0.1  # of the runs at the hook that has most: with fewer, it does not see this traffic

EMPTY, ONE_READ, EARLIER, MONLAT = "empty", "one read", "earlier", "monlat"

OTHERS = """
int empty(u64 *ctx) { return 0; }
int one_read(u64 *ctx)
{
	u64 header[3];

	return bpf_probe_read_kernel(header, sizeof(header), member(char *, ctx[0], SKB_DATA)) != 0;
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
is_typed = hasattr(KernelTypes, "tracepoint")
print(json.dumps({"text": program.text(), "defines": defines, "hooks": dict(program.HOOKS), "is_typed": is_typed}))
"""
"""Run with a tree's own modules: prints what its loader would give to the compiler."""


@dataclass(frozen=True, slots=True)
class Description:
    """The text of a kernel program, its macros, its function for each hook, and whether their arguments are typed."""

    text: str
    defines: Mapping[str, int]
    hooks: Mapping[str, str]
    is_typed: bool


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
        types = KernelTypes()
        self._loaded: dict[tuple[str, str], _Loaded] = {}

        def load(description: Description, hook: str, functions: Mapping[str, str]) -> None:
            cflags = [f"-D{name}={value}" for name, value in description.defines.items()]
            module = BPF(text=description.text + (OTHERS if description.is_typed else ""), cflags=cflags)
            for name, function in functions.items():
                if description.is_typed:
                    program = typed_hooks.load(module.dump_func(function), types.tracepoint(hook), function)
                else:
                    program = module.load_func(function, BPF.RAW_TRACEPOINT).fd
                self._loaded[name, hook] = _Loaded(module, function, hook, program, description.is_typed)

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
        before = {hook: _runs(each.program) for hook, each in chosen.items()}
        with ExitStack() as attached:
            for each in chosen.values():
                attached.enter_context(each.attached())
            traffic()
        runs = {hook: _runs(each.program) - before[hook] for hook, each in chosen.items()}
        most = max(of_hook.count for of_hook in runs.values())
        for hook, of_hook in runs.items():
            if of_hook.count > most * FEWEST:
                yield hook, of_hook.time_ns / of_hook.count


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A program for one hook; `module` is BCC's, which keeps its maps."""

    module: Any
    function: str
    hook: str
    program: int
    is_typed: bool

    @contextmanager
    def attached(self) -> Iterator[None]:
        if self.is_typed:
            link = typed_hooks.attach(self.program)
            try:
                yield
            finally:
                os.close(link)
        else:
            self.module.attach_raw_tracepoint(tp=self.hook, fn_name=self.function)
            try:
                yield
            finally:
                self.module.detach_raw_tracepoint(tp=self.hook)


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
