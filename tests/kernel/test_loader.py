"""Loading through a child process, and every way in which that child can fail."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from monlat_ebpf.abi import layout
from monlat_ebpf.errors import SourceError
from monlat_ebpf.sources.tracepoint.loader import CHILD, load
from tests.kernel.kernel_objects import details, objects_of

HAND_OVER = """
import os, signal, socket, sys
handover = socket.socket(fileno=int(sys.argv[1]))
socket.send_fds(handover, [b"loaded"], [os.open("/dev/null", os.O_RDONLY) for _ in range({count})])
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
    """Neither a descriptor nor a process, not even a dead one, stays behind."""
    before = set(Path("/proc/self/fd").iterdir()), children()
    yield
    assert (set(Path("/proc/self/fd").iterdir()), children()) == before


def failure(*child: str, timeout_seconds: float = 60) -> str:
    """Load by the command `child` and return what the error says."""
    with pytest.raises(SourceError) as caught:
        load(32, child=child, timeout_seconds=timeout_seconds)
    return str(caught.value)


def python(script: str) -> tuple[str, ...]:
    return (sys.executable, "-c", script)


def hand_over(count: int, then: str = "") -> tuple[str, ...]:
    return python(HAND_OVER.format(count=count, then=then))


def test_what_is_loaded() -> None:
    """Eight maps of the sizes that the header has and four attached hooks, kept from programs that we start."""
    loaded = load(32)
    try:
        maps = [details(descriptor) for descriptor in loaded.maps]
        assert [(each["value_size"], each["max_entries"]) for each in maps] == [
            ("64", "32"),
            ("1520", "2"),
            ("80", "1"),
            ("56", "32"),
            ("3072", "2"),
            ("24", "8"),
            ("8", "1"),
            ("32", "1"),
        ]
        assert [details(descriptor)["tp_name"] for descriptor in loaded.hooks] == [
            "net_dev_start_xmit",
            "napi_gro_receive_entry",
            "netif_rx",
            "netif_receive_skb",
        ]
        assert not any(os.get_inheritable(descriptor) for descriptor in (*loaded.maps, *loaded.hooks))
    finally:
        loaded.close()


def test_closing_frees_all() -> None:
    """Four programs, four links and eight maps are there while loaded, and none of them after close."""
    loaded = load(32)
    objects = objects_of(loaded)
    alive = objects.alive()
    loaded.close()
    assert len(alive) == 16
    objects.wait_until_gone()


def test_a_child_that_dies_at_once() -> None:
    """Its status and its last words are the error."""
    assert failure("sh", "-c", "echo cannot go on >&2; exit 3") == "the loader failed with status 3: cannot go on"


def test_a_child_that_says_nothing() -> None:
    """Dying without a word is said so; and so is ending well without having done anything."""
    assert failure("false") == "the loader failed with status 1 and said nothing"
    assert failure("true") == "the loader handed over 0 descriptors instead of 12 and said nothing"


def test_a_child_that_hangs() -> None:
    """It is killed when its time is up, and what it had said by then is in the error."""
    said = failure("sh", "-c", "echo compiling; exec sleep 1000", timeout_seconds=2)
    assert said == "the loader did not finish within 2 s: compiling"


def test_a_child_that_hands_over_and_hangs() -> None:
    """What it handed over is closed again."""
    assert "did not finish within 3 s" in failure(*hand_over(12, "signal.pause()"), timeout_seconds=3)


def test_a_child_that_is_killed() -> None:
    """The signal is named: 9 is what the kernel sends where memory is short."""
    assert failure("sh", "-c", "kill -9 $$") == "the loader was killed by signal 9 and said nothing"


def test_a_child_that_hands_over_too_little() -> None:
    """Three descriptors of twelve: all three are closed again."""
    assert failure(*hand_over(3)) == "the loader handed over 3 descriptors instead of 12 and said nothing"


def test_a_child_that_hands_over_and_fails() -> None:
    """All seven descriptors and then an error: the error counts."""
    assert failure(*hand_over(12, "sys.exit('on second thoughts')")).endswith("status 1: on second thoughts")


def test_a_child_that_talks_much() -> None:
    """Of 100,003 lines, on both streams and not all of them text, the last twelve are in the error."""
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
    """Without the right to load, the error says which capability to grant."""
    said = failure("setpriv", f"--bounding-set=-all,{held}", f"--inh-caps=-all,{held}", *CHILD)
    assert f"this process lacks {lacking}, without which" in said


def test_two_capabilities_suffice() -> None:
    """BPF and PERFMON alone load and attach."""
    held = "-all,+bpf,+perfmon"
    load(32, child=("setpriv", f"--bounding-set={held}", f"--inh-caps={held}", *CHILD)).close()


def test_the_wrong_bcc_is_named(tmp_path: Path) -> None:
    """Where another module has BCC's name, as the unrelated package of PyPI, the error says which to install."""
    (tmp_path / "bcc.py").touch()
    said = failure("env", f"PYTHONPATH={tmp_path}", *CHILD)
    assert "cannot import name 'BPF'" in said
    assert "install Debian's package python3-bpfcc" in said


def broken_program(directory: Path, name: str, old: str, new: str) -> tuple[str, ...]:
    """Return the command that loads an installed package, copied to `directory`, with one line of C changed."""
    package = directory / "monlat_ebpf"
    shutil.copytree(Path(layout.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(layout.program_directory(), package / "bpf", dirs_exist_ok=True)
    text = (package / "bpf" / name).read_text(encoding="ascii")
    assert text.count(old) == 1
    (package / "bpf" / name).write_text(text.replace(old, new), encoding="ascii")
    return ("env", f"--chdir={directory}", *CHILD)


def test_the_unbroken_copy_loads(tmp_path: Path) -> None:
    """The copy that the next tests break works as it is, with the kernel program inside the package."""
    load(32, child=broken_program(tmp_path, "core.h", "u64 rtt, bucket;", "u64 rtt, bucket;")).close()


def test_a_syntax_error_is_the_compilers_own(tmp_path: Path) -> None:
    """File, line and first complaint of the compiler, of many that follow, are in the error; then what that means."""
    said = failure(*broken_program(tmp_path, "histogram.h", "u32 octave, bucket;", "u32 octave bucket;"))
    number = 1 + (layout.program_directory() / "histogram.h").read_text().splitlines().index("\tu32 octave, bucket;")
    first, *_, last = said.splitlines()
    assert f"histogram.h:{number}:12: error: expected ';' at end of declaration" in first
    assert last.startswith("the kernel program cannot be loaded")
    assert len(said) < 500


def test_what_the_verifier_refuses_is_said_by_it(tmp_path: Path) -> None:
    """An index without its bound is refused by the kernel, whose words are in the error."""
    said = failure(*broken_program(tmp_path, "histogram.h", "bucket > BUCKETS - 1 ? BUCKETS - 1 : bucket", "bucket"))
    assert "unbounded memory access" in said or "outside of the allowed memory range" in said or "out of bounds" in said
