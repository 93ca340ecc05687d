"""Routes and clients for the tests of the HTTP server."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

from monlat_ebpf.exposition.http import MetricsServer, Request, Response, Route

CHUNKS = [b"alpha\n", b"", b"beta\n"]


def streamed(_: Request) -> Response:
    return Response(lambda: CHUNKS)


def large(_: Request) -> Response:
    """16 MiB, more than the sockets between server and client hold."""
    return Response(lambda: (b"x" * 65536 for _ in range(256)))


def failing(_: Request) -> Response:
    raise ValueError("a defect")


def breaking_off(_: Request) -> Response:
    def chunks() -> Iterator[bytes]:
        yield b"half\n"
        raise KeyError("a defect later on")

    return Response(chunks)


ROUTES: dict[str, Route] = {
    "/": lambda request: Response(b"index\n"),
    "/accept": lambda request: Response(request.accept.encode()),
    "/streamed": streamed,
    "/large": large,
    "/failing": failing,
    "/breaking-off": breaking_off,
}


def connect(cleanup: ExitStack, server: MetricsServer, send: bytes = b"", *, timeout: float = 20) -> socket.socket:
    client = cleanup.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=timeout))
    client.sendall(send)
    return client


def request(cleanup: ExitStack, server: MetricsServer) -> http.client.HTTPConnection:
    return cleanup.enter_context(closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)))


def get(cleanup: ExitStack, server: MetricsServer, path: str = "/") -> tuple[int, bytes]:
    connection = request(cleanup, server)
    connection.request("GET", path, headers={"Connection": "close"})
    with connection.getresponse() as answer:
        return answer.status, answer.read()


def everything_from(client: socket.socket) -> bytes:
    """Return what the server sends until it ends the connection; a reset is an end, too."""
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received
