"""What the kernel program and Python share, read from the text of `bpf/monlat.h`.

The header is the one owner of every constant and layout; nothing is repeated here but names. A struct is
given as a `Layout`: its size and the offset and `struct` format of each member.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
    """One member of a struct: byte offset, and `struct` format without byte order."""

    offset: int
    format: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A struct as C lays it out on a little-endian machine, size in bytes."""

    size: int
    members: Mapping[str, Member]

    @property
    def format(self) -> str:
        """The `struct` format of the whole, little-endian; every byte belongs to a member."""
        return "<" + "".join(member.format for member in self.members.values())

    def offset(self, member: str) -> int:
        """Return the byte offset of `member`."""
        return self.members[member].offset


def parse_constants(header: str) -> dict[str, int]:
    """Return the object-like #defines of `header` that have a value, evaluated, in their order."""
    constants: dict[str, int] = {}
    for name, expression in re.findall(r"^#define (\w+) +(.+?) *$", _without_comments(header), re.MULTILINE):
        constants[name] = _evaluate(expression, constants)
    return constants


def parse_structs(header: str, constants: Mapping[str, int]) -> dict[str, Layout]:
    """Return the structs of `header` by name. Raises ValueError where natural alignment would pad one."""
    layouts: dict[str, Layout] = {}
    for name, body in re.findall(r"^struct (\w+) \{(.*?)^\};", _without_comments(header), re.MULTILINE | re.DOTALL):
        members: dict[str, Member] = {}
        size, alignment = 0, 1
        for declaration in filter(None, (line.strip() for line in body.split(";"))):
            match = re.fullmatch(r"(?:struct )?(\w+) (\w+)(?:\[(.+)\])?", declaration)
            if match is None:
                raise ValueError(f"struct {name}: cannot read '{declaration}'")
            kind, member, length = match.groups()
            count = _evaluate(length, constants) if length else 1
            nested = layouts.get(kind)
            code, unit = (nested.format[1:], nested.size) if nested else _SIZES[kind]
            alignment = max(alignment, min(unit, 8))
            if size % min(unit, 8):
                raise ValueError(f"struct {name}: {member} at byte {size} is not aligned")
            text = f"{unit * count}s" if kind == "u8" and length else f"{count}{code}" if length else code
            members[member] = Member(size, text)
            size += unit * count
        if size % alignment:
            raise ValueError(f"struct {name}: C would pad its {size} bytes to a multiple of {alignment}")
        layouts[name] = Layout(size, members)
    return layouts


def _without_comments(header: str) -> str:
    return re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)


def _evaluate(expression: str, constants: Mapping[str, int]) -> int:
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


HEADER_TEXT: Final = (program_directory() / "monlat.h").read_text(encoding="ascii")
CONSTANTS: Final = parse_constants(HEADER_TEXT)
STRUCTS: Final = parse_structs(HEADER_TEXT, CONSTANTS)

PAYLOAD_MAGIC: Final = CONSTANTS["PAYLOAD_MAGIC"]
PAYLOAD_VERSION: Final = CONSTANTS["PAYLOAD_VERSION"]
PROBES_PER_TARGET: Final = CONSTANTS["PROBES_PER_TARGET"]
BUCKETS_PER_OCTAVE: Final = CONSTANTS["BUCKETS_PER_OCTAVE"]
LOWEST_OCTAVE: Final = CONSTANTS["LOWEST_OCTAVE"]
HIGHEST_OCTAVE: Final = CONSTANTS["HIGHEST_OCTAVE"]
BUCKETS: Final = CONSTANTS["BUCKETS"]

PAYLOAD: Final = STRUCTS["payload"]
PROBE: Final = STRUCTS["probe"]
TARGET: Final = STRUCTS["target"]
UNMATCHED: Final = STRUCTS["unmatched"]

HISTOGRAM: Final = STRUCTS["histogram"]
EXCHANGE: Final = STRUCTS["exchange"]
SESSION: Final = STRUCTS["session"]
FEEDBACK: Final = STRUCTS["feedback"]
PEER_ENTRY: Final = STRUCTS["peer_entry"]
PEER_INDEX_STEPS: Final = CONSTANTS["PEER_INDEX_STEPS"]
PEER_INDEX_ENTRIES_PER_TARGET: Final = CONSTANTS["PEER_INDEX_ENTRIES_PER_TARGET"]
SETTINGS: Final = STRUCTS["settings"]
REJECTED_FEEDBACK: Final = STRUCTS["rejected_feedback"]


def _reasons(prefix: str) -> tuple[str, ...]:
    names = (name for name in CONSTANTS if name.startswith(prefix) and name != f"{prefix}REASONS")
    return tuple(name.removeprefix(prefix).lower() for name in names)


UNMATCHED_REASONS: Final = _reasons("UNMATCHED_")
"""The values of the `reason` label of `monlat_unmatched_packets_total`, in the order of the array."""

FEEDBACK_REASONS: Final = _reasons("FEEDBACK_")
"""The values of the `reason` label of `monlat_rejected_feedback_total`, in the order of the array."""
