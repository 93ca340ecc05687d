"""Bytes of a list, compressed or not, to its JSON text, within a limit: pure.

The API server compresses what is longer than 128 KiB, for clients that accept it; a watch it never compresses:
https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/writers.go
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from io import BytesIO
from typing import Final

from monlat_ebpf.discovery.api_errors import ApiError, Reason

GZIP: Final = "gzip"
"""The content coding that lists ask for (RFC 9110, 8.4.1.3)."""

LARGEST_LIST: Final = 32 * 2**20
"""Bytes of JSON in one answer. A page of 50 slices with 1,000 endpoints each, Kubernetes' limit, is 25 MB. gzip can
shrink a text to a thousandth: without a limit, 1 MB of hostile bytes would fill a gigabyte of memory."""

_GZIP_STREAM: Final = 16 + zlib.MAX_WBITS  # requires gzip's header, and its CRC and length at the end


def body_of(chunks: Iterable[bytes], encoding: str) -> bytes:
    """Return the text of an answer whose Content-Encoding is `encoding`, "" without one.

    Raises ApiError when the text is longer than LARGEST_LIST, the compressed stream is damaged, cut off or followed by
    other bytes, or the encoding is neither gzip nor none. No more than the limit is read or decompressed.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return _joined(chunks)
        case "gzip" | "x-gzip":
            return _decompressed(chunks)
        case _:
            raise ApiError(Reason.STREAM, f"the list's Content-Encoding is {encoding[:40]!r}, which was not requested")


def _joined(chunks: Iterable[bytes]) -> bytes:
    text = BytesIO()
    for chunk in chunks:
        text.write(chunk)
        _check_length(text)
    return text.getvalue()


def _decompressed(chunks: Iterable[bytes]) -> bytes:
    text = BytesIO()
    stream = zlib.decompressobj(_GZIP_STREAM)
    try:
        for chunk in chunks:
            text.write(stream.decompress(chunk, LARGEST_LIST + 1 - text.tell()))
            _check_length(text)
            if stream.unused_data:
                raise ApiError(Reason.STREAM, "the list goes on after the end of its gzip stream")
    except zlib.error as error:
        raise ApiError(Reason.STREAM, f"the list is not gzip, as it claims: {error}") from error
    if not stream.eof:
        raise ApiError(Reason.STREAM, f"the list ended within its gzip stream, after {text.tell()} bytes of text")
    return text.getvalue()


def _check_length(text: BytesIO) -> None:
    if text.tell() > LARGEST_LIST:
        raise ApiError(Reason.STREAM, f"the list is longer than {LARGEST_LIST} bytes")
