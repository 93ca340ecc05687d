"""Loading through a child process, and the ways in which that child can fail."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import monlat_ebpf
from monlat_ebpf.abi import layout
from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.errors import SourceError
from monlat_ebpf.sources.tracepoint.loader import CHILD, load
from monlat_ebpf.sources.tracepoint.program import FILTERS, HOOKS
from testkit.descriptors import open_descriptors
from tests.kernel.kernel_objects import details, objects_of

HAND_OVER = """
import os, signal, socket, sys
handover = socket.socket(fileno=int(sys.argv[1]))
names = {names}
socket.send_fds(handover, [" ".join(names).encode()], [os.open("/dev/null", os.O_RDONLY) for _ in names])
{then}
"""


def children() -> set[int]:
    """Return the processes, dead ones included, whose parent this is."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended as we looked
        if int(parent) == os.getpid():
            found.add(int(stat.parent.name))
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No descriptor and no process, not even a dead one, remains."""
    before = open_descriptors(), children()
    yield
    assert (open_descriptors(), children()) == before


def failure(*child: str, timeout_seconds: float = 60) -> str:
    """Load by the command `child` and return what the error says."""
    with pytest.raises(SourceError) as caught:
        load(TableSize(2), child=child, timeout_seconds=timeout_seconds)
    return str(caught.value)


def python(script: str) -> tuple[str, ...]:
    return (sys.executable, "-c", script)


def hand_over(count: int, then: str = "") -> tuple[str, ...]:
    return python(HAND_OVER.format(names=[*layout.MAPS, *HOOKS, *FILTERS.values()][:count], then=then))


def test_maps_and_hooks_are_loaded() -> None:
    """Seven maps with the sizes of the header, five hooks and two filters; programs that we start inherit none."""
    loaded = load(TableSize(2))
    try:
        maps = {name: details(descriptor) for name, descriptor in loaded.maps.items()}
        assert {name: (each["value_size"], each["max_entries"]) for name, each in maps.items()} == {
            "probes": ("96", "32"),
            "targets": ("776", "2"),
            "exchanges": ("56", "64"),
            "sessions": ("1656", "2"),
            "peer_index": ("24", "8"),
            "settings": ("48", "1"),
            "counts": ("104", "1"),
        }
        hooks = [
            "net_dev_start_xmit",
            "napi_gro_receive_entry",
            "napi_gro_frags_entry",
            "netif_rx",
            "netif_receive_skb",
        ]
        assert list(loaded.hooks) == hooks
        assert [details(descriptor)["tp_name"] for descriptor in loaded.hooks.values()] == hooks
        assert [details(descriptor)["prog_type"] for descriptor in loaded.filters.values()] == ["1", "1"]
        handed_over = (*loaded.maps.values(), *loaded.hooks.values(), *loaded.filters.values())
        assert not any(map(os.get_inheritable, handed_over))
    finally:
        loaded.close()


def test_close_frees_everything() -> None:
    """Seven programs, five links and seven maps exist while loaded, and none of them after close."""
    loaded = load(TableSize(2))
    objects = objects_of(loaded)
    alive = objects.alive()
    loaded.close()
    assert len(alive) == 7 + 5 + 7
    objects.wait_until_gone()


def test_failing_child_is_an_error() -> None:
    """The error has its status and the last line that it wrote."""
    assert failure("sh", "-c", "echo cannot go on >&2; exit 3") == "the loader failed with status 3: cannot go on"


def test_silent_child_is_an_error() -> None:
    """A child that writes nothing and fails, and one that ends well but hands nothing over."""
    assert failure("false") == "the loader failed with status 1 and said nothing"
    assert failure("true") == "the loader handed over 0 descriptors instead of 14 and said nothing"


def test_hanging_child_is_killed() -> None:
    """It is killed after the timeout; the error has what it wrote before."""
    said = failure("sh", "-c", "echo compiling; exec sleep 1000", timeout_seconds=2)
    assert said == "the loader did not finish within 2 s: compiling"


def test_descriptors_of_a_hanging_child_are_closed() -> None:
    """It hands over all descriptors and hangs: all are closed again."""
    assert "did not finish within 3 s" in failure(*hand_over(14, "signal.pause()"), timeout_seconds=3)


def test_killed_child_names_the_signal() -> None:
    """The kernel sends signal 9 if memory is short."""
    assert failure("sh", "-c", "kill -9 $$") == "the loader was killed by signal 9 and said nothing"


def test_missing_descriptors_are_an_error() -> None:
    """Of fourteen descriptors only three are handed over: all three are closed again."""
    assert failure(*hand_over(3)) == "the loader handed over 3 descriptors instead of 14 and said nothing"


def test_child_that_hands_over_and_fails_is_an_error() -> None:
    """All fourteen descriptors and then an error: the error counts."""
    assert failure(*hand_over(14, "sys.exit('on second thoughts')")).endswith("status 1: on second thoughts")


def test_long_output_is_cut_to_its_end() -> None:
    """Of 100,003 lines, on both streams and not all valid text, the error has the last twelve."""
    script = r"""
import sys
for number in range(100_002):
    print(f"line {number}", file=sys.stderr if number % 2 else sys.stdout, flush=number % 100 > 90)
sys.stdout.flush()
sys.stderr.buffer.write(b"\xff\xfe end\n")
sys.exit(1)
"""
    said = failure(*python(script))
    assert len(said.splitlines()) == 12
    assert said.endswith("� end")


@pytest.mark.parametrize(
    ("held", "lacking"),
    [
        ("+net_raw,+perfmon", "CAP_BPF"),
        ("+net_raw,+bpf", "CAP_PERFMON"),
        ("+net_raw", "CAP_BPF and CAP_PERFMON"),
    ],
)
def test_missing_capabilities_are_named(held: str, lacking: str) -> None:
    """Without the right to load, the error names the missing capability."""
    said = failure("setpriv", f"--bounding-set=-all,{held}", f"--inh-caps=-all,{held}", *CHILD)
    assert f"this process lacks {lacking}, without which" in said


def test_two_capabilities_suffice() -> None:
    """BPF and PERFMON alone load and attach."""
    held = "-all,+bpf,+perfmon"
    load(TableSize(2), child=("setpriv", f"--bounding-set={held}", f"--inh-caps={held}", *CHILD)).close()


def test_wrong_bcc_module_is_named(tmp_path: Path) -> None:
    """If another module is named bcc, like the unrelated package of PyPI, the error says which one to install."""
    (tmp_path / "bcc.py").touch()
    said = failure("env", f"PYTHONPATH={tmp_path}", *CHILD)
    assert "cannot import name 'BPF'" in said
    assert "install Debian's package python3-bpfcc" in said


@pytest.mark.parametrize("name", ["monlat_ebpf.py", "bcc.py"])
def test_modules_of_the_current_directory_are_not_run(tmp_path: Path, name: str) -> None:
    """Root may be in a directory of somebody else, with a module of the same name."""
    (tmp_path / name).write_text("raise SystemExit('a stranger ran as root')\n")
    load(TableSize(2), child=("env", f"--chdir={tmp_path}", *CHILD)).close()


def broken_program(directory: Path, name: str, old: str, new: str) -> tuple[str, ...]:
    """Return the command that loads an installed package, copied to `directory`, with one line of C changed."""
    package = directory / "monlat_ebpf"
    shutil.copytree(Path(monlat_ebpf.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(layout.program_directory(), package / "bpf", dirs_exist_ok=True)
    text = (package / "bpf" / name).read_text(encoding="ascii")
    assert text.count(old) == 1
    (package / "bpf" / name).write_text(text.replace(old, new), encoding="ascii")
    return ("env", f"PYTHONPATH={directory}", *CHILD)


def test_unbroken_copy_loads(tmp_path: Path) -> None:
    """Without a change the copy of the next tests loads, with the kernel program inside the package."""
    load(TableSize(2), child=broken_program(tmp_path, "packet.h", "u32 sum = 0;", "u32 sum = 0;")).close()


def test_syntax_error_is_reported_as_the_compiler_wrote_it(tmp_path: Path) -> None:
    """The error has file, line and text of the compiler's first error, of many, and then a summary."""
    said = failure(*broken_program(tmp_path, "packet.h", "u32 sum = 0;", "u32 sum 0;"))
    number = 1 + (layout.program_directory() / "packet.h").read_text().splitlines().index("\tu32 sum = 0;")
    first, *_, last = said.splitlines()
    assert f"packet.h:{number}:9: error: expected ';' at end of declaration" in first
    assert last.startswith("the kernel program cannot be loaded")
    assert len(said) < 500


def test_verifier_error_is_reported_as_the_verifier_wrote_it(tmp_path: Path) -> None:
    """The kernel refuses an index without a bound; the error has its text."""
    said = failure(*broken_program(tmp_path, "histogram.h", "if (bucket > BUCKETS - 1)", "if (0)"))
    assert "unbounded memory access" in said or "outside of the allowed memory range" in said or "out of bounds" in said
