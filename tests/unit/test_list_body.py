"""Bytes of a list to its text: compressed or not, whole, damaged or too long."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from monlat_ebpf.discovery.api_errors import ApiError, Reason
from monlat_ebpf.discovery.list_body import LARGEST_LIST, body_of

TEXT = b'{"metadata": {"resourceVersion": "7"}, "items": ["\xc3\xa9"]}' * 53
COMPRESSED = gzip.compress(TEXT)
MEBIBYTE = 2**20


def pieces(text: bytes, size: int) -> Iterator[bytes]:
    return (text[start : start + size] for start in range(0, len(text), size))


def rejected(text: bytes, encoding: str, size: int = 65536) -> str:
    """Return the message of the error for this answer."""
    with pytest.raises(ApiError) as caught:
        body_of(pieces(text, size), encoding)
    assert caught.value.reason is Reason.STREAM
    assert len(str(caught.value)) < 200
    return str(caught.value)


@pytest.mark.parametrize("size", [1, 2, 7, 65536])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_compressed_list_is_decompressed(size: int, encoding: str) -> None:
    """A piece may end anywhere, also within gzip's header. Codings have no case (RFC 9110, 8.4.1)."""
    assert body_of(pieces(COMPRESSED, size), encoding) == TEXT


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_list_without_encoding_stays_as_it_is(encoding: str) -> None:
    """Also when it is gzip by itself."""
    assert body_of(pieces(TEXT, 7), encoding) == TEXT
    assert body_of(pieces(COMPRESSED, 7), encoding) == COMPRESSED


@pytest.mark.parametrize("end", [0, 1, 9, 10, len(COMPRESSED) // 2, len(COMPRESSED) - 8, len(COMPRESSED) - 1])
def test_stream_that_ends_early_is_an_error(end: int) -> None:
    """Cut within the header, within the data, before and within the checksum."""
    assert "ended within its gzip stream" in rejected(COMPRESSED[:end], "gzip")


@pytest.mark.parametrize(
    ("position", "message"), [(0, "incorrect header"), (-8, "incorrect data"), (-1, "incorrect length")]
)
def test_damaged_stream_is_an_error(position: int, message: str) -> None:
    """One bit in the magic number, in the checksum and in the length."""
    damaged = bytearray(COMPRESSED)
    damaged[position] ^= 1
    assert message in rejected(bytes(damaged), "gzip")


@pytest.mark.parametrize("size", [1, len(COMPRESSED), 65536])
@pytest.mark.parametrize("more", [b"\0", COMPRESSED], ids=["a byte", "a second stream"])
def test_bytes_after_the_stream_are_an_error(size: int, more: bytes) -> None:
    """In the same piece as its end, or in the next."""
    assert "after the end" in rejected(COMPRESSED + more, "gzip", size)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "x" * 5000])
def test_other_encodings_are_an_error(encoding: str) -> None:
    """They were not requested."""
    assert "Content-Encoding" in rejected(COMPRESSED, encoding)


def test_text_of_zeros_as_long_as_allowed_is_read() -> None:
    """The limit itself, compressed to a thousandth."""
    compressed = gzip.compress(bytes(LARGEST_LIST))
    assert len(compressed) < LARGEST_LIST / 900
    assert len(body_of(pieces(compressed, 65536), "gzip")) == LARGEST_LIST


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_longer_text_is_an_error_and_is_not_kept(encoding: str) -> None:
    """1 GiB of zeros in pieces: it is given up at 32 MiB, in less memory than three times that."""

    def zeros() -> Iterator[bytes]:
        compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
        for _ in range(1024):
            yield compressor.compress(bytes(MEBIBYTE)) if encoding else bytes(MEBIBYTE)

    tracemalloc.start()
    try:
        with pytest.raises(ApiError, match=f"longer than {LARGEST_LIST} bytes"):
            body_of(zeros(), encoding)
        assert tracemalloc.get_traced_memory()[1] < 3 * LARGEST_LIST
    finally:
        tracemalloc.stop()


def test_one_piece_that_expands_to_a_gigabyte_is_an_error() -> None:
    """The limit holds within a piece, too."""
    compressor = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    bomb = b"".join(compressor.compress(bytes(MEBIBYTE)) for _ in range(1024)) + compressor.flush()
    tracemalloc.start()
    try:
        assert "longer" in rejected(bomb, "gzip", len(bomb))
        assert tracemalloc.get_traced_memory()[1] < 3 * LARGEST_LIST
    finally:
        tracemalloc.stop()
