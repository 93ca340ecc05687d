"""Runs bpf/histogram.h in the kernel. It is a process of its own, to keep LLVM out of the process of pytest.

Standard input: times as 64-bit little-endian numbers. Standard output: the bucket of each, one byte; then the
struct histogram that has all of them as samples.
"""

from __future__ import annotations

import ctypes
import os
import sys

from monlat_ebpf.abi.layout import program_directory

PROGRAM = """
BPF_ARRAY(sums, struct histogram, 1);

int bucket_of_argument(struct bpf_raw_tracepoint_args *ctx)
{
	u32 key = 0;
	struct histogram *sum = sums.lookup(&key);

	if (sum)
		add_sample(sum, ctx->args[0]);
	return bucket_of(ctx->args[0]);
}
"""


class TestRun(ctypes.Structure):
    """struct bpf_test_run_opts of libbpf's bpf.h."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("data", ctypes.c_void_p * 2),
        ("data_sizes", ctypes.c_uint32 * 2),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("others", ctypes.c_uint32 * 5),
    )


def main() -> None:
    directory = program_directory()
    os.environ["BCC_KERNEL_SOURCE"] = str(directory / "headers")
    from bcc import BPF

    headers = "".join((directory / name).read_text(encoding="ascii") for name in ("monlat.h", "histogram.h"))
    module = BPF(text="#include <uapi/linux/bpf.h>\n" + headers + PROGRAM)
    function = module.load_func("bucket_of_argument", BPF.RAW_TRACEPOINT)
    run = ctypes.CDLL("libbpf.so.1").bpf_prog_test_run_opts
    argument = ctypes.c_uint64()
    options = TestRun(size=ctypes.sizeof(TestRun), ctx_in=ctypes.addressof(argument), ctx_size_in=8)
    reference = ctypes.byref(options)

    values = memoryview(sys.stdin.buffer.read()).cast("Q")
    buckets = bytearray()
    for value in values:
        argument.value = value
        status = run(function.fd, reference)
        if status:
            sys.exit(f"the kernel cannot run the function: {os.strerror(-status)}")
        buckets.append(options.retval)
    sys.stdout.buffer.write(buckets + bytes(module["sums"][0]))


if __name__ == "__main__":
    main()
