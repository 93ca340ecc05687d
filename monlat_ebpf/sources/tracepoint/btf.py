"""Offsets of members in kernel structs, from the running kernel's BTF.

libbpf reads the types, which https://docs.kernel.org/bpf/btf.html describes; this module walks their members.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

from monlat_ebpf.errors import SourceError

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")
_TYPEDEF: Final = 8
_STRUCT: Final = 4
_UNION: Final = 5


class _Type(ctypes.Structure):
    _fields_ = (("name_offset", ctypes.c_uint32), ("info", ctypes.c_uint32), ("size", ctypes.c_uint32))


class _Member(ctypes.Structure):
    _fields_ = (("name_offset", ctypes.c_uint32), ("type", ctypes.c_uint32), ("bit_offset", ctypes.c_uint32))


class KernelTypes:
    """The types of the running kernel. Raises SourceError if the kernel does not publish them."""

    def __init__(self) -> None:
        if not VMLINUX.exists():
            raise SourceError(
                f"{VMLINUX} is missing: the kernel publishes no type information. "
                "Use a kernel built with CONFIG_DEBUG_INFO_BTF=y, or --source socket"
            )
        try:
            library = ctypes.CDLL("libbpf.so.1")
        except OSError:
            try:
                library = ctypes.CDLL("libbpf.so.0")
            except OSError as error:
                raise SourceError(f"libbpf cannot be loaded ({error}): install Debian's package libbpf1") from error
        library.btf__load_vmlinux_btf.restype = ctypes.c_void_p
        library.btf__find_by_name_kind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
        library.btf__type_by_id.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        library.btf__type_by_id.restype = ctypes.c_void_p
        library.btf__name_by_offset.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        library.btf__name_by_offset.restype = ctypes.c_char_p
        self._library = library
        self._btf = library.btf__load_vmlinux_btf()
        if not self._btf or ctypes.c_long(self._btf).value < 0:  # libbpf 0 gives a negative error number
            raise SourceError(f"{VMLINUX} cannot be read by libbpf: is this process allowed to read it?")

    def offset(self, struct: str, member: str) -> int:
        """Return the byte offset of `member` in `struct`, also if it is in an unnamed part. Raises SourceError."""
        return self.bit_offset(struct, member) // 8

    def bit_offset(self, struct: str, member: str) -> int:
        """Return the same in bits, for a bit-field.

        Raises SourceError if this kernel has no such struct or member.
        """
        number = self._library.btf__find_by_name_kind(self._btf, struct.encode(), _STRUCT)
        found = self._find(number, member, 0) if number > 0 else None
        if found is None:
            raise SourceError(f"this kernel's struct {struct} has no {member}: its version is not supported yet")
        return found

    def tracepoint(self, name: str) -> int:
        """Return the number of the type that has the arguments of a tracepoint. Raises SourceError."""
        number: int = self._library.btf__find_by_name_kind(self._btf, f"btf_trace_{name}".encode(), _TYPEDEF)
        if number <= 0:
            raise SourceError(f"this kernel has no tracepoint {name}: its version is not supported yet")
        return number

    def _find(self, number: int, member: str, base: int) -> int | None:
        address = self._library.btf__type_by_id(self._btf, number)
        info = _Type.from_address(address).info
        if (info >> 24) & 0x1F not in (_STRUCT, _UNION):
            return None
        for each in (_Member * (info & 0xFFFF)).from_address(address + ctypes.sizeof(_Type)):
            # if the kind flag is set, the upper 8 bits are the width of a bit-field
            bits = each.bit_offset & 0xFFFFFF if info >> 31 else each.bit_offset
            at = base + bits
            name = self._library.btf__name_by_offset(self._btf, each.name_offset).decode()
            found = at if name == member else self._find(each.type, member, at) if not name else None
            if found is not None:
                return found
        return None
