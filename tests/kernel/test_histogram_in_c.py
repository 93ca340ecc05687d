"""The histogram function of the kernel program, run in the kernel, compared with the one in Python."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections import Counter
from random import Random

from monlat_ebpf.abi.histogram import EDGES_NS, bucket_of


def run_in_c(values: list[int]) -> tuple[list[int], bytes]:
    """Run bpf/histogram.h on `values` in the kernel; return the bucket of each, and the struct histogram of all."""
    command = [sys.executable, "-m", "tests.kernel.histogram_in_c"]
    ran = subprocess.run(
        command, input=struct.pack(f"<{len(values)}Q", *values), capture_output=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode(errors="replace")
    return list(ran.stdout[: len(values)]), ran.stdout[len(values) :]


def test_c_and_python_agree() -> None:
    """All 185 edges and the times 1 ns beside them, the ends of 64 bits, and 200,003 random times."""
    random = Random(20261122)
    values = [edge + step for edge in EDGES_NS for step in (-1, 0, 1)]
    values += [0, 1, 2**32 - 1, 2**32, 2**33, 2**40, 2**63 - 1, 2**63, 2**64 - 1]
    values += [int(2 ** random.uniform(0, 40)) for _ in range(100_003)]
    values += [random.randrange(8_000_000_001) for _ in range(50_000)]
    values += [random.randrange(2**40) for _ in range(50_000)]
    in_c, _ = run_in_c(values)
    assert len(in_c) == len(values) == 185 * 3 + 9 + 200_003
    assert [(value, c) for value, c in zip(values, in_c, strict=True) if c != bucket_of(value)] == []
    assert set(in_c) == set(range(186))


def test_samples_add_up() -> None:
    """10,007 samples in all 186 buckets: the counts of 32 bits stand side by side behind number and sum of 64 bits."""
    random = Random(20261130)
    values = [*EDGES_NS, 9_000_000_000, *(int(2 ** random.uniform(0, 34)) for _ in range(10_007 - 186))]
    buckets, memory = run_in_c(values)
    each = Counter(buckets)
    assert set(each) == set(range(186))
    assert struct.unpack("<QQ186I", memory) == (10_007, sum(values), *(each[bucket] for bucket in range(186)))
