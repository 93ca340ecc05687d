"""One GET request to an agent, with limits in time and bytes. `h11` parses the answer.

An agent may hang, send a byte now and then, or never end. So each of the two parts of an answer has a deadline that
no byte extends: the head (connection and TLS handshake included), and the body.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import h11

LARGEST_ANSWER: Final = 8 * 1024 * 1024
"""Bytes of a body after decompression. 5,000 peers with one address make 4 MB."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_READ_BYTES: Final = 64 * 1024


class Failure(StrEnum):
    """Why an agent has no usable answer. The values are those of the label `reason`."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    HTTP = "http"
    TOO_LONG = "too_long"
    INVALID = "invalid"
    WRONG_NODE = "wrong_node"
    INTERNAL = "internal"


class AskError(Exception):
    """An agent has no usable answer. The text says why, as the end of a sentence that begins with the agent."""

    def __init__(self, failure: Failure, text: str) -> None:
        super().__init__(text)
        self.failure: Final = failure


class Exchange:
    """A request that was sent, and whose answer begins with status 200."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.CLIENT)
        self._is_gzip = False

    @classmethod
    async def begin(
        cls,
        addresses: Sequence[str],
        port: int,
        path: str,
        headers: Mapping[str, str],
        *,
        timeout_seconds: float,
        context: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> Exchange:
        """Ask the first of `addresses` that takes a connection, and read the head of its answer. Raises AskError."""
        try:
            async with asyncio.timeout(timeout_seconds):
                connection = await _connect(addresses, port, context, server_name if context else None)
                exchange = cls(*connection)
                try:
                    await exchange._ask(path, headers)
                except BaseException:
                    exchange.close()
                    raise
                return exchange
        except TimeoutError as error:
            raise AskError(Failure.TIMEOUT, "does not answer in time") from error

    async def _ask(self, path: str, headers: Mapping[str, str]) -> None:
        fields = {"Host": "monlat", "Accept-Encoding": "gzip", "Connection": "close", **headers}
        request = h11.Request(method="GET", target=path, headers=list(fields.items()))
        self._writer.write((self._h11.send(request) or b"") + (self._h11.send(h11.EndOfMessage()) or b""))
        head = await self._next_event()
        while isinstance(head, h11.InformationalResponse):
            head = await self._next_event()
        if not isinstance(head, h11.Response):
            raise AskError(Failure.HTTP, "ends the connection without an answer")
        if head.status_code != 200:
            raise AskError(Failure.HTTP, f"answers with status {head.status_code}")
        found = {name: value for name, value in head.headers}  # noqa: C416  # h11's own sequence, of pairs in bytes
        if int(found.get(b"content-length", b"0")) > LARGEST_ANSWER:
            raise _too_long()
        self._is_gzip = found.get(b"content-encoding", b"").lower() == b"gzip"

    async def body(self, timeout_seconds: float) -> bytes:
        """Return the body, decompressed. Raises AskError."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._body()
        except TimeoutError as error:
            raise AskError(Failure.TIMEOUT, "does not send its answer in time") from error

    async def _body(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        unzip = zlib.decompressobj(_GZIP) if self._is_gzip else None
        while isinstance(event := await self._next_event(), h11.Data):
            part = bytes(event.data)
            if unzip is not None:
                try:
                    part = unzip.decompress(part, LARGEST_ANSWER + 1 - size)
                except zlib.error as error:
                    raise AskError(Failure.HTTP, "sends a body that cannot be decompressed") from error
            parts.append(part)
            size += len(part)
            if size > LARGEST_ANSWER:
                raise _too_long()
        if not isinstance(event, h11.EndOfMessage) or (unzip is not None and not unzip.eof):
            raise AskError(Failure.HTTP, "ends the connection within its answer")
        return b"".join(parts)

    async def _next_event(self) -> h11.Event | None:
        """Return the next event of the answer, None after its end."""
        try:
            while (event := self._h11.next_event()) is h11.NEED_DATA:
                self._h11.receive_data(await self._reader.read(_READ_BYTES))
        except h11.RemoteProtocolError as error:
            raise AskError(Failure.HTTP, f"does not speak HTTP: {error}") from error
        except ssl.SSLError as error:
            raise _no_tls(error) from error
        except OSError as error:
            raise AskError(Failure.UNREACHABLE, f"breaks the connection: {error.strerror or error}") from error
        return event if isinstance(event, h11.Event) else None

    def close(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()


async def _connect(
    addresses: Sequence[str], port: int, context: ssl.SSLContext | None, server_name: str | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    failures: list[AskError] = []
    for address in addresses:
        try:
            return await asyncio.open_connection(address, port, ssl=context, server_hostname=server_name)
        except ssl.SSLError as error:
            failures.append(_no_tls(error))
        except OSError as error:
            failures.append(AskError(Failure.UNREACHABLE, f"cannot be connected: {error.strerror or error}"))
    raise failures[0]


def _no_tls(error: ssl.SSLError) -> AskError:
    reason = getattr(error, "verify_message", None) or error.reason or str(error)
    return AskError(Failure.TLS, f"fails the TLS handshake: {reason.lower().replace('_', ' ')}")


def _too_long() -> AskError:
    return AskError(Failure.TOO_LONG, f"sends an answer longer than {LARGEST_ANSWER >> 20} MiB")
