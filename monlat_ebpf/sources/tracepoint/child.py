"""The child process that compiles, loads and attaches, hands the descriptors over and exits.

    python3 -m monlat_ebpf.sources.tracepoint.child DESCRIPTOR SLOTS PARENT

DESCRIPTOR is a SOCK_SEQPACKET socket, PARENT the process that waits at its other end. The one message on
it carries the descriptors of the maps (in the order of MAPS) and then of the attached hooks. What goes
wrong is said on standard error, last line last.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys

from monlat_ebpf.abi import layout
from monlat_ebpf.errors import SourceError
from monlat_ebpf.sources.tracepoint import program
from monlat_ebpf.sources.tracepoint.btf import KernelTypes
from monlat_ebpf.sources.tracepoint.permission import read_rights, what_may_refuse, why_refused

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Load the program and send its descriptors."""
    handover = socket.socket(fileno=int(sys.argv[1]))
    slots = int(sys.argv[2])
    parent = int(sys.argv[3])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the agent ended while its program was being loaded")
    try:
        descriptors = load(slots)
    except SourceError as error:
        sys.exit(str(error))
    socket.send_fds(handover, [b"loaded"], descriptors)


def load(slots: int) -> list[int]:
    """Compile, load and attach; return the descriptors of maps and hooks. Raises SourceError."""
    rights = read_rights()
    refusal = why_refused(rights)
    if refusal is not None:
        raise SourceError(str(refusal))
    defines = program.defines(KernelTypes(), slots)
    os.environ["BCC_KERNEL_SOURCE"] = str(layout.program_directory() / "headers")
    try:
        from bcc import BPF  # its import maps LLVM
    except ImportError as error:
        raise SourceError(
            f"BCC cannot be imported ({error}): install Debian's package python3-bpfcc and use /usr/bin/python3 "
            "(a virtual environment needs --system-site-packages); the package bcc on PyPI is another program"
        ) from error
    try:
        module = BPF(text=program.text(), cflags=[f"-D{name}={value}" for name, value in defines.items()])
        for tracepoint, function in program.HOOKS.items():
            module.load_func(function, BPF.RAW_TRACEPOINT)
            module.attach_raw_tracepoint(tp=tracepoint, fn_name=function)
    except Exception as error:  # BCC raises nothing narrower; the compiler's and the verifier's words came before
        likely = what_may_refuse(rights, str(error))
        raise SourceError(f"the kernel program cannot be loaded: {error}{f'; {likely}' if likely else ''}") from error
    # os.dup: BCC closes its own when it is collected
    return [os.dup(module[name].map_fd) for name in program.MAPS] + [
        os.dup(hook) for hook in module.raw_tracepoint_fds.values()
    ]


if __name__ == "__main__":
    main()
