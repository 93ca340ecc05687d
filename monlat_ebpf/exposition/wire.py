"""The wire format of protocol buffers, as far as metrics need it. Pure.

A message is a row of fields. A field begins with its number and the kind of its value: a varint, 8 bytes, or bytes
after their length. Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from typing import Final

_VARINT: Final = 0
_EIGHT_BYTES: Final = 1
_BYTES: Final = 2

double: Final = struct.Struct("<d").pack
"""Returns a number as the 8 bytes of a field of the type double."""


def varint(number: int) -> bytes:
    """Return `number`, not negative, in groups of 7 bits, the lowest first."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def zigzag(number: int) -> int:
    """Return what the types sint32 and sint64 send for `number`: of 0, -1, 1, -2 that is 0, 1, 2, 3."""
    return number << 1 if number >= 0 else -number * 2 - 1


def varint_field(field: int, number: int) -> bytes:
    """Return a field of the type int64, uint64 or enum."""
    return varint(field << 3 | _VARINT) + varint(number)


def signed_field(field: int, number: int) -> bytes:
    """Return a field of the type sint32 or sint64."""
    return varint_field(field, zigzag(number))


def double_tag(field: int) -> bytes:
    """Return what stands before the 8 bytes of a double."""
    return varint(field << 3 | _EIGHT_BYTES)


def bytes_field(field: int, content: bytes) -> bytes:
    """Return a field of the type string, bytes or message, or a packed one."""
    return bytes_tag(field, len(content)) + content


def bytes_tag(field: int, length: int) -> bytes:
    """Return what stands before `length` bytes."""
    return varint(field << 3 | _BYTES) + varint(length)


def padded_varint(number: int, length: int) -> bytes:
    """Return `number`, not negative, in `length` groups. Readers ignore that the highest groups may be zeros."""
    groups = bytearray(number >> 7 * position & 0x7F | 0x80 for position in range(length))
    groups[-1] &= 0x7F
    return bytes(groups)
