"""A gzip body whose sections are written by turns, so that one pass over the pairs fills all families at once.

The formats of Prometheus want the lines of a family together, and a scrape reads each pair once. So each family is a
section with a compressor of its own. In the end the compressed sections are put one after the other: every compressor
ends its part at a whole byte (Z_FULL_FLUSH) and refers to nothing before it, so together they are one stream of
deflate (RFC 1951), with the header and the checksum of gzip (RFC 1952) around it.
"""

from __future__ import annotations

import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

LEVEL: Final = 1
"""zlib's fastest. Level 6 takes two to three times as long and saves a tenth (bench/exposition)."""

_GZIP_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"  # no name, no time; fastest algorithm; no system
_LAST_BLOCK: Final = b"\x03\0"  # an empty one: there is no other way to mark the end
_STORED: Final = struct.Struct("<BHH")
_TRAILER: Final = struct.Struct("<II")
_U32: Final = 2**32 - 1


class Piece(NamedTuple):
    """More of a section: `data` follows what the section has, `header` goes before all of it.

    A header is not compressed; it has at most 65,535 bytes.
    """

    section: int
    data: bytes
    header: bytes = b""


class _Section:
    """The compressed bytes of a section so far, and length and checksum of what they are."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)
        self._parts: list[bytes] = []
        self.length = 0
        self.checksum = 0

    def add(self, data: bytes) -> None:
        self.length += len(data)
        self.checksum = zlib.crc32(data, self.checksum)
        if compressed := self._compressor.compress(data):
            self._parts.append(compressed)

    def end(self) -> bytes:
        return b"".join((*self._parts, self._compressor.flush(zlib.Z_FULL_FLUSH)))


class SectionedGzip:
    """Compresses pieces of sections; sections are put together in the order of their numbers."""

    def __init__(self) -> None:
        self.length = 0
        self._headers: dict[int, bytes] = {}
        self._sections: dict[int, _Section] = {}

    def add(self, piece: Piece) -> None:
        """Compress a piece."""
        number, data, header = piece
        self.length += len(data) + len(header)
        if header:
            self._headers[number] = self._headers.get(number, b"") + header
        if data:
            section = self._sections.get(number)
            if section is None:
                section = self._sections[number] = _Section()
            section.add(data)

    def end(self) -> list[bytes]:
        """Return the whole body in parts; no method may be called after it."""
        parts, checksum = [_GZIP_HEADER], 0
        for number in sorted(self._headers.keys() | self._sections):
            if header := self._headers.get(number):
                parts.append(_STORED.pack(0, len(header), len(header) ^ 0xFFFF) + header)
                checksum = zlib.crc32(header, checksum)
            if section := self._sections.pop(number, None):  # with its compressor: a quarter of a megabyte
                parts.append(section.end())
                checksum = combined_checksum(checksum, section.checksum, section.length)
        parts.append(_LAST_BLOCK + _TRAILER.pack(checksum, self.length & _U32))
        return parts


def document(pieces: Iterable[Piece]) -> bytes:
    """Return what a SectionedGzip of these pieces contains, for tests and benchmarks: it is whole in memory."""
    headers: defaultdict[int, bytes] = defaultdict(bytes)
    contents: defaultdict[int, bytes] = defaultdict(bytes)
    for number, data, header in pieces:
        headers[number] += header
        contents[number] += data
    return b"".join(headers[number] + contents[number] for number in sorted(headers))


_POLYNOMIAL: Final = 0xEDB88320  # of CRC-32, its highest power in the lowest bit
_X: Final = 1 << 30  # the polynomial x in this notation


def _product(one: int, other: int) -> int:
    """Return the product of two polynomials over GF(2), modulo the CRC's."""
    product = 0
    for power in range(31, -1, -1):
        if one >> power & 1:
            product ^= other
        other = other >> 1 ^ _POLYNOMIAL if other & 1 else other >> 1
    return product


def combined_checksum(first: int, second: int, second_length: int) -> int:
    """Return the CRC-32 of two texts in a row from the CRC-32 of each and the length of the second one. Pure.

    The first is shifted by the second's bits: multiplied by x to the power of 8 * second_length.
    """
    shift, square, exponent = 1 << 31, _X, 8 * second_length  # 1 << 31 is the polynomial 1
    while exponent:
        if exponent & 1:
            shift = _product(square, shift)
        square = _product(square, square)
        exponent >>= 1
    return _product(shift, first) ^ second
