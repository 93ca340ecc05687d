"""What the kernel program and Python share, read from the text of `bpf/monlat.h` and `bpf/maps.h`.

The headers own every constant, struct and map; only names are repeated here. A `Layout` reads and writes a struct by
the names that its members have in C.
"""

from __future__ import annotations

import ast
import operator
import re
import struct
from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from mmap import mmap
from pathlib import Path
from typing import Any, Final

Memory = bytearray | mmap
Record = Any
"""A named tuple with the names of C's members. An array is a tuple, an array of u8 is bytes, a struct is a Record."""

_SIZES = {"u8": ("B", 1), "u16": ("H", 2), "u32": ("I", 4), "u64": ("Q", 8)}
_OPERATORS: Mapping[type[ast.AST], Callable[..., int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
    ast.USub: operator.neg,
}


def program_directory() -> Path:
    """Return the directory of the kernel program: inside the package when installed, else in the checkout."""
    package = Path(__file__).parent.parent
    installed = package / "bpf"
    return installed if installed.is_dir() else package.parent / "bpf"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a struct: its byte offset and `struct` format, how many values that has, and what to make of them."""

    offset: int
    format: str
    values: int = 1
    make: Callable[[tuple[Any, ...]], Any] | None = None


class Layout:
    """Members of a struct as C lays them out on a little-endian machine. `size` is that of the whole struct."""

    def __init__(self, name: str, size: int, members: Mapping[str, Member]) -> None:
        self.size = size
        self.members = members
        self.values = sum(member.values for member in members.values())
        self.format = "<" + "".join(member.format for member in members.values())
        self.make = _maker(name, members)
        self._name = name
        self._start = next(iter(members.values())).offset
        self._struct = struct.Struct(self.format)
        self._unpack_from = self._struct.unpack_from

    def offset(self, member: str) -> int:
        """Return the byte offset of `member`."""
        return self.members[member].offset

    def part(self, first: str, last: str = "") -> Layout:
        """Return the layout of `first`, or of all from `first` to `last`: it reads and writes these members alone."""
        names = list(self.members)
        chosen = names[names.index(first) : names.index(last or first) + 1]
        return Layout(self._name, self.size, {name: self.members[name] for name in chosen})

    def nested(self, member: str, layout: Layout) -> Layout:
        """Return the layout of the struct `member`: it reads and writes that part of this struct alone."""
        start = self.offset(member)
        shifted = {name: replace(inner, offset=start + inner.offset) for name, inner in layout.members.items()}
        return Layout(member, self.size, shifted)

    def read(self, memory: Memory | bytes, index: int = 0) -> Record:
        """Return the members of the struct at `index` of an array."""
        return self.make(self._unpack_from(memory, index * self.size + self._start))

    def values_at(self, memory: Memory | bytes, index: int = 0) -> tuple[Any, ...]:
        """Return the values of all members as one flat tuple. It takes less time than a Record."""
        return self._unpack_from(memory, index * self.size + self._start)

    def read_whole(self, memory: Memory, index: int = 0) -> Record:
        """Return the members as `values_whole` reads them."""
        return self.make(self.values_whole(memory, index))

    def values_whole(self, memory: Memory, index: int = 0) -> tuple[Any, ...]:
        """Return the values as two reads in a row found them, because the kernel program may write them meanwhile.

        A processor with weak memory ordering (arm64) shows the stores of one packet in any order, but within less time
        than a read takes in Python.
        """
        offset = index * self.size + self._start
        values, again = None, self._unpack_from(memory, offset)
        while values != again:
            values, again = again, self._unpack_from(memory, offset)
        return again

    def raw(self, memory: Memory, index: int = 0) -> bytes:
        """Return a copy of the members of the struct at `index` of an array, as they are in memory."""
        start = index * self.size + self._start
        return bytes(memory[start : start + self._struct.size])

    def write(self, memory: Memory, index: int, *values: int | bytes) -> None:
        """Write the members of the struct at `index` of an array."""
        self._struct.pack_into(memory, index * self.size + self._start, *values)

    def clear(self, memory: Memory, index: int) -> None:
        """Write zeros into the members of the struct at `index` of an array."""
        start = index * self.size + self._start
        memory[start : start + self._struct.size] = bytes(self._struct.size)

    def pack(self, *values: int | bytes) -> bytes:
        """Return the members as bytes."""
        return self._struct.pack(*values)


def _maker(name: str, members: Mapping[str, Member]) -> Callable[[tuple[Any, ...]], Record]:
    """Return the function that turns the values of all members into a Record."""
    make_record: Callable[[Any], Record] = namedtuple(name, members)._make  # type: ignore[attr-defined]
    if all(member.make is None for member in members.values()):
        return make_record
    parts: list[tuple[int | slice, Callable[[Any], Any]]] = []
    at = 0
    for member in members.values():
        parts.append((slice(at, at + member.values), member.make) if member.make else (at, _same))
        at += member.values
    return lambda values: make_record([make(values[part]) for part, make in parts])


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Map:
    """A map of the kernel program: an array of structs. `entries` is a C expression."""

    layout: Layout
    entries: str


def parse_constants(header: str) -> dict[str, int]:
    """Return the object-like #defines of `header` that have a value, evaluated, in their order."""
    constants: dict[str, int] = {}
    for name, expression in re.findall(r"^#define (\w+) +(.+?) *$", _without_comments(header), re.MULTILINE):
        constants[name] = evaluate(expression, constants)
    return constants


def parse_structs(header: str, constants: Mapping[str, int]) -> dict[str, Layout]:
    """Return the structs of `header` by name. Raises ValueError where natural alignment would pad one."""
    layouts: dict[str, Layout] = {}
    for name, body in re.findall(r"^struct (\w+) \{(.*?)^\};", _without_comments(header), re.MULTILINE | re.DOTALL):
        members: dict[str, Member] = {}
        size, alignment = 0, 1
        for declaration in filter(None, (line.strip() for line in body.split(";"))):
            match = re.fullmatch(r"struct (\w+) (\w+)()|(u\d+) (\w+)(?:\[(.+)\])?", declaration)
            if match is None:
                raise ValueError(f"struct {name}: cannot read '{declaration}'")
            kind, member, length = (match[group] or match[group + 3] for group in (1, 2, 3))
            count = evaluate(length, constants) if length else 1
            if kind in layouts:
                nested = layouts[kind]
                unit, made = nested.size, Member(size, nested.format[1:], nested.values, nested.make)
            else:
                code, unit = _SIZES[kind]
                made = Member(size, code)
                if length:
                    made = Member(size, f"{count}s") if kind == "u8" else Member(size, f"{count}{code}", count, tuple)
            if size % min(unit, 8):
                raise ValueError(f"struct {name}: {member} at byte {size} is not aligned")
            members[member] = made
            alignment = max(alignment, min(unit, 8))
            size += unit * count
        if size % alignment:
            raise ValueError(f"struct {name}: C would pad its {size} bytes to a multiple of {alignment}")
        layouts[name] = Layout(name, size, members)
    return layouts


def parse_maps(header: str, layouts: Mapping[str, Layout]) -> dict[str, Map]:
    """Return the maps of `header` by name, in its order."""
    declared = re.findall(r'^BPF_F_TABLE\("array", u32, struct (\w+), (\w+), (.+), \w+\);$', header, re.MULTILINE)
    return {name: Map(layouts[layout], entries) for layout, name, entries in declared}


def _without_comments(header: str) -> str:
    return re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)


def evaluate(expression: str, constants: Mapping[str, int]) -> int:
    """Return the value of a C expression of whole numbers and `constants`. Raises ValueError if it is not one."""

    def value(node: ast.AST) -> int:
        match node:
            case ast.Constant(value=int() as number):
                return number
            case ast.Name(id=name) if name in constants:
                return constants[name]
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(left), value(right))
        raise ValueError(f"cannot evaluate '{expression}'")

    return value(ast.parse(expression, mode="eval").body)


_HEADER: Final = (program_directory() / "monlat.h").read_text(encoding="ascii")
CONSTANTS: Final = parse_constants(_HEADER)
STRUCTS: Final = parse_structs(_HEADER, CONSTANTS)
MAPS: Final = parse_maps((program_directory() / "maps.h").read_text(encoding="ascii"), STRUCTS)

PAYLOAD_MAGIC: Final = CONSTANTS["PAYLOAD_MAGIC"]
PAYLOAD_VERSION: Final = CONSTANTS["PAYLOAD_VERSION"]
PROBES_PER_TARGET: Final = CONSTANTS["PROBES_PER_TARGET"]
STREAMS: Final = CONSTANTS["STREAMS"]
BUCKETS_PER_OCTAVE: Final = CONSTANTS["BUCKETS_PER_OCTAVE"]
LOWEST_OCTAVE: Final = CONSTANTS["LOWEST_OCTAVE"]
HIGHEST_OCTAVE: Final = CONSTANTS["HIGHEST_OCTAVE"]
BUCKETS: Final = CONSTANTS["BUCKETS"]

PAYLOAD: Final = STRUCTS["payload"]
PROBE: Final = STRUCTS["probe"]
STAMPS: Final = STRUCTS["stamps"]
TARGET: Final = STRUCTS["target"]
COUNTS: Final = STRUCTS["counts"]

HISTOGRAM: Final = STRUCTS["histogram"]
EXCHANGE: Final = STRUCTS["exchange"]
SESSION: Final = STRUCTS["session"]
FEEDBACK: Final = STRUCTS["feedback"]
STREAM: Final = STRUCTS["stream"]
PEER_ENTRY: Final = STRUCTS["peer_entry"]
PEER_INDEX_STEPS: Final = CONSTANTS["PEER_INDEX_STEPS"]
PEER_INDEX_ENTRIES_PER_TARGET: Final = CONSTANTS["PEER_INDEX_ENTRIES_PER_TARGET"]
SETTINGS: Final = STRUCTS["settings"]
SENDING_SOCKETS: Final = CONSTANTS["SENDING_SOCKETS"]


def _reasons(prefix: str) -> tuple[str, ...]:
    return tuple(name.removeprefix(prefix).lower() for name in CONSTANTS if name.startswith(prefix))


UNMATCHED_REASONS: Final = _reasons("UNMATCHED_")
"""Values of the label `reason` of `monlat_unmatched_packets_total`, in the order of the array of counts."""

FEEDBACK_REASONS: Final = _reasons("FEEDBACK_")
"""Values of the label `reason` of `monlat_rejected_feedback_total`; they follow those of unmatched packets."""
