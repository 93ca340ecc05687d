"""TLS of one connection, between the bytes of the socket and those of HTTP; does no input or output itself.

asyncio's own TLS hands a connection over after its handshake. Here the connection exists from its first byte, so the
server's limits hold during the handshake as well. asyncio also reserves 256 KB for each connection.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from typing import Final, cast

PLAIN_HTTP: Final = b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nthis port speaks TLS: ask it with https://\n"
"""The answer to a client that does not speak TLS."""

_RECORD_BYTES: Final = 16 * 1024  # the most that one TLS record holds


class TlsStream:
    """The server's side of a TLS connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context: Final = context
        self.is_ended = False
        """Whether the client has said that it sends no more."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_established = False

    def receive(self, data: bytes) -> bytes:
        """Return what `data` from the socket holds for HTTP. Raises ssl.SSLError: the connection cannot go on."""
        self._incoming.write(data)
        parts = []
        try:
            if not self._is_established:
                self._tls.do_handshake()
                self._is_established = True
            while part := self._tls.read(_RECORD_BYTES):
                parts.append(part)
            self.is_ended = True
        except ssl.SSLWantReadError:
            pass  # more is to come
        except ssl.SSLZeroReturnError:
            self.is_ended = True
        return b"".join(parts)

    def send(self, data: bytes) -> bytes:
        """Return the bytes for the socket that carry `data`. Raises ssl.SSLError."""
        left = memoryview(data)
        while left:  # a call writes one record
            left = left[self._tls.write(left) :]
        return self._outgoing.read()

    def pending(self) -> bytes:
        """Return what TLS itself has to send: a handshake or an alert."""
        return self._outgoing.read()

    def end(self) -> bytes:
        """Return the bytes that tell the client that nothing follows."""
        with suppress(ssl.SSLError):  # it waits for the client's answer, which does not matter any more
            self._tls.unwrap()
        return self._outgoing.read()

    def names(self) -> frozenset[str] | None:
        """Return the alternative names in the client's verified certificate; None if it has sent none."""
        certificate = self._tls.getpeercert()
        if certificate is None:
            return None
        pairs = cast(Iterable[tuple[str, str]], certificate.get("subjectAltName", ()))
        return frozenset(canonical_name(value) for _, value in pairs)


def canonical_name(name: str) -> str:
    """Return `name`, an address in the one form that Python writes it in."""
    try:
        return str(ip_address(name.strip()))
    except ValueError:
        return name
