"""Raw tracepoints whose arguments have types: bpf(2), because BCC cannot load such programs.

The verifier knows these types from the kernel's BTF (tp_btf in libbpf's words, Linux 5.5), and so lets a program read
their members itself. An untyped raw tracepoint calls a helper for each read, which takes most of the time that a packet
of others costs.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

from monlat_ebpf.sources.tracepoint.bpf_call import bpf

_PROG_LOAD: Final = 5
_RAW_TRACEPOINT_OPEN: Final = 17
_TRACING: Final = 26  # BPF_PROG_TYPE_TRACING
_TRACE_RAW_TP: Final = 23  # an attach type
_INSTRUCTION_BYTES: Final = 8
_LOG_BYTES: Final = 1 << 22
_LICENSE: Final = b"Dual BSD/GPL"  # as bpf/hooks.c
_NAME_BYTES: Final = 15


class _ProgLoad(ctypes.Structure):
    """The attributes of BPF_PROG_LOAD, linux/bpf.h, up to the last one that is needed."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * (_NAME_BYTES + 1)),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
        ("prog_btf_fd", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("func_info", ctypes.c_uint64),
        ("func_info_cnt", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("line_info", ctypes.c_uint64),
        ("line_info_cnt", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
    )


class _RawTracepointOpen(ctypes.Structure):
    """The attributes of BPF_RAW_TRACEPOINT_OPEN. A typed program has the tracepoint's name already."""

    _fields_ = (("name", ctypes.c_uint64), ("prog_fd", ctypes.c_uint32))


def load(instructions: bytes, tracepoint_type: int, name: str) -> int:
    """Load a program for the tracepoint of that type (KernelTypes.tracepoint); return its descriptor.

    Raises OSError. If the verifier rejects the program, its log goes to standard error.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_text = ctypes.create_string_buffer(_LICENSE)
    attributes = _ProgLoad(
        prog_type=_TRACING,
        insn_cnt=len(instructions) // _INSTRUCTION_BYTES,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(license_text),
        prog_name=name.encode()[:_NAME_BYTES],
        expected_attach_type=_TRACE_RAW_TP,
        attach_btf_id=tracepoint_type,
    )
    try:
        return bpf(_PROG_LOAD, attributes)
    except OSError:
        log = ctypes.create_string_buffer(_LOG_BYTES)
        attributes.log_level, attributes.log_size, attributes.log_buf = 1, _LOG_BYTES, ctypes.addressof(log)
        try:
            return bpf(_PROG_LOAD, attributes)
        finally:
            sys.stderr.write(log.value.decode(errors="replace"))


def attach(program: int) -> int:
    """Attach a loaded program to its tracepoint; it runs until the returned descriptor is closed. Raises OSError."""
    return bpf(_RAW_TRACEPOINT_OPEN, _RawTracepointOpen(prog_fd=program))


def load_and_attach(instructions: bytes, tracepoint_type: int, name: str) -> int:
    """Load a program and attach it; return the descriptor that keeps both. Raises OSError."""
    program = load(instructions, tracepoint_type, name)
    try:
        return attach(program)
    finally:
        os.close(program)
