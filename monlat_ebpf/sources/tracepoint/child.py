"""The child process that compiles, loads and attaches the program, hands the descriptors over and exits.

    python3 -m monlat_ebpf.sources.tracepoint.child DESCRIPTOR TARGETS PARENT

DESCRIPTOR is a SOCK_SEQPACKET socket, PARENT the process that waits at its other end. The one message on it carries
the descriptors of the maps, of the attached hooks and of the filters; its text is their names, in the same order,
separated by spaces.
Errors go to standard error; the last line sums them up.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.errors import SourceError
from monlat_ebpf.sources.tracepoint import program
from monlat_ebpf.sources.tracepoint.btf import KernelTypes
from monlat_ebpf.sources.tracepoint.permission import read_rights, what_may_refuse, why_refused
from monlat_ebpf.sources.tracepoint.typed_hooks import load_and_attach

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Load the program and send its descriptors."""
    handover = socket.socket(fileno=int(sys.argv[1]))
    size = TableSize(int(sys.argv[2]))
    parent = int(sys.argv[3])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the agent ended while its kernel program was being loaded")
    try:
        descriptors = load(size)
    except SourceError as error:
        sys.exit(str(error))
    socket.send_fds(handover, [" ".join(descriptors).encode()], list(descriptors.values()))


def load(size: TableSize) -> dict[str, int]:
    """Compile, load and attach; return the descriptors of maps, hooks and filters by name. Raises SourceError."""
    try:
        rights = read_rights()
    except OSError as error:
        raise SourceError(f"the rights of this process cannot be read ({error}): mount /proc") from error
    refusal = why_refused(rights)
    if refusal is not None:
        raise SourceError(str(refusal))
    types = KernelTypes()
    defines = program.defines(types, size)
    hook_types = {tracepoint: types.tracepoint(tracepoint) for tracepoint in program.HOOKS}
    os.environ["BCC_KERNEL_SOURCE"] = str(layout.program_directory() / "headers")
    try:
        from bcc import BPF  # its import maps LLVM
    except ImportError as error:
        raise SourceError(
            f"BCC cannot be imported ({error}): install Debian's package python3-bpfcc and use /usr/bin/python3 "
            "(a virtual environment needs --system-site-packages); the package bcc on PyPI is another program"
        ) from error
    except OSError as error:
        raise SourceError(
            f"BCC cannot be loaded ({error}): with a limit on the address space (ulimit -v), it needs about 350 MB"
        ) from error
    try:
        module = BPF(text=program.text(), cflags=[f"-D{name}={value}" for name, value in defines.items()])
        filters = {name: module.load_func(name, BPF.SOCKET_FILTER).fd for name in program.FILTERS.values()}
        hooks = {
            tracepoint: load_and_attach(module.dump_func(function), hook_types[tracepoint], function)
            for tracepoint, function in program.HOOKS.items()
        }
    except Exception as error:  # BCC raises nothing narrower; compiler and verifier wrote to standard error
        likely = what_may_refuse(rights, str(error))
        raise SourceError(f"the kernel program cannot be loaded: {error}{f'; {likely}' if likely else ''}") from error
    of_bcc = {name: module[name].map_fd for name in layout.MAPS} | filters  # it closes them when it is collected
    return {name: os.dup(descriptor) for name, descriptor in of_bcc.items()} | hooks


if __name__ == "__main__":
    main()
