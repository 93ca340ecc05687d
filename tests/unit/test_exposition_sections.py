"""The gzip body of several sections, as gzip and zlib read it."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from monlat_ebpf.exposition.sections import Piece, SectionedGzip, combined_checksum

PIECES = st.lists(st.builds(Piece, st.integers(0, 4), st.binary(max_size=3_000), st.binary(max_size=200)))


def compressed(pieces: list[Piece]) -> tuple[bytes, int]:
    body = SectionedGzip()
    for piece in pieces:
        body.add(piece)
    return b"".join(body.end()), body.length


@given(pieces=PIECES)
def test_sections_are_in_order_whatever_the_order_of_their_pieces(pieces: list[Piece]) -> None:
    """Each section's headers, then its data, in the order in which they were added; gzip checks length and checksum."""
    expected = b"".join(
        b"".join([piece.header for piece in pieces if piece.section == section])
        + b"".join([piece.data for piece in pieces if piece.section == section])
        for section in range(5)
    )
    body, length = compressed(pieces)
    assert gzip.decompress(body) == expected
    assert length == len(expected)


def test_section_does_not_refer_to_another_one() -> None:
    """Sections that are larger than zlib's window, written by turns, are read as one stream."""
    lines = [b"section %d line %d\n" % (section, line) for line in range(5_003) for section in (1, 0)]
    body, _ = compressed([Piece(position % 2, line) for position, line in enumerate(lines)])
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert stream.decompress(body) == b"".join(lines[0::2] + lines[1::2])
    assert (stream.eof, stream.unused_data) == (True, b"")
    assert len(body) < len(b"".join(lines)) / 4


@given(first=st.binary(), second=st.binary(max_size=70_000))
def test_checksums_are_combined(first: bytes, second: bytes) -> None:
    """The checksum of two texts in a row, from the checksum of each, is zlib's of both."""
    combined = combined_checksum(zlib.crc32(first), zlib.crc32(second), len(second))
    assert combined == zlib.crc32(first + second)
