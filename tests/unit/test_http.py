"""The HTTP server over real loopback connections: what it answers, and that no client can keep it from answering."""

from __future__ import annotations

import http.client
import logging
import os
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from monlat_ebpf.errors import ConfigError
from monlat_ebpf.exposition.clients import Limits
from monlat_ebpf.exposition.http import MetricsServer, Request, Response, Route
from testkit.waiting import wait_until

CHUNKS = [b"alpha\n", b"", b"beta\n"]


def streamed(_: Request) -> Response:
    return Response(iter(CHUNKS))


def endless(_: Request) -> Response:
    def chunks() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    return Response(chunks())


def failing(_: Request) -> Response:
    raise ValueError("a defect")


def breaking_off(_: Request) -> Response:
    def chunks() -> Iterator[bytes]:
        yield b"half\n"
        raise KeyError("a defect later on")

    return Response(chunks())


ROUTES: dict[str, Route] = {
    "/": lambda request: Response(b"index\n"),
    "/accept": lambda request: Response(request.accept.encode()),
    "/streamed": streamed,
    "/endless": endless,
    "/failing": failing,
    "/breaking-off": breaking_off,
}


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server(cleanup: ExitStack) -> MetricsServer:
    return cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES))


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


def workers() -> int:
    return sum(thread.name == "http-client" for thread in threading.enumerate())


def test_streamed_answer_arrives_whole(cleanup: ExitStack, server: MetricsServer) -> None:
    """An answer in chunks, an empty one among them, arrives complete over HTTP/1.1, which sends it chunked."""
    connection = request(cleanup, server)
    connection.request("GET", "/streamed?now=1")
    with connection.getresponse() as answer:
        assert (answer.status, answer.getheader("Transfer-Encoding")) == (200, "chunked")
        assert answer.getheader("Content-Type") == "text/plain; charset=utf-8"
        assert answer.read() == b"alpha\nbeta\n"


def test_http_1_0_client_gets_the_plain_text(cleanup: ExitStack, server: MetricsServer) -> None:
    """A client of HTTP/1.0 gets the same bytes unchunked, and the end of the connection as their end."""
    client = connect(cleanup, server, b"GET /streamed HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    head, _, body = everything_from(client).partition(b"\r\n\r\n")
    assert b"200" in head.splitlines()[0]
    assert b"chunked" not in head
    assert body == b"alpha\nbeta\n"


def test_connection_is_kept_for_further_requests(cleanup: ExitStack, server: MetricsServer) -> None:
    """HEAD and GET, of both kinds of answer, follow each other over one connection; HEAD has no body."""
    connection = request(cleanup, server)
    bodies = []
    for method, path in [("HEAD", "/streamed"), ("GET", "/streamed"), ("HEAD", "/"), ("GET", "/"), ("GET", "/none")]:
        connection.request(method, path)
        with connection.getresponse() as answer:
            bodies.append((answer.status, answer.read()))
        assert connection.sock is not None
    assert bodies[:4] == [(200, b""), (200, b"alpha\nbeta\n"), (200, b""), (200, b"index\n")]
    assert bodies[4][0] == 404


def test_head_tells_what_get_would_send(cleanup: ExitStack, server: MetricsServer) -> None:
    """HEAD has the length that GET's body has."""
    connection = request(cleanup, server)
    connection.request("HEAD", "/")
    with connection.getresponse() as answer:
        assert answer.getheader("Content-Length") == "6"


def test_unknown_path_says_what_there_is(cleanup: ExitStack, server: MetricsServer) -> None:
    """404 names the paths that exist."""
    status, body = get(cleanup, server, "/metric")
    assert status == 404
    assert b"/streamed" in body


def test_other_methods_are_refused(cleanup: ExitStack, server: MetricsServer) -> None:
    """405 for POST and its like, with what is allowed; the unread body ends the connection."""
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        connection = request(cleanup, server)
        connection.request(method, "/", body=b"GET / HTTP/1.1\r\n\r\n")
        with connection.getresponse() as answer:
            assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")
            assert answer.getheader("Connection") == "close"


def test_body_of_a_get_is_not_read_as_a_request(cleanup: ExitStack, server: MetricsServer) -> None:
    """A GET with a body is answered once and the connection ended, so that the body cannot pose as a request."""
    smuggled = b"GET /accept HTTP/1.1\r\n\r\n"
    client = connect(cleanup, server, b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(smuggled), smuggled))
    assert everything_from(client).count(b"HTTP/1.1 200") == 1


def test_route_learns_what_the_client_accepts(cleanup: ExitStack, server: MetricsServer) -> None:
    """The Accept header reaches the route."""
    connection = request(cleanup, server)
    connection.request("GET", "/accept", headers={"Accept": "text/plain;q=0.5"})
    with connection.getresponse() as answer:
        assert answer.read() == b"text/plain;q=0.5"


def test_any_address_serves_both_families(cleanup: ExitStack) -> None:
    """A server on [::] answers over IPv4 and over IPv6, on the port that it found."""
    server = cleanup.enter_context(MetricsServer("[::]", 0, ROUTES))
    for address in ("127.0.0.1", "::1"):
        connection = cleanup.enter_context(closing(http.client.HTTPConnection(address, server.port, timeout=20)))
        connection.request("GET", "/")
        with connection.getresponse() as answer:
            assert answer.read() == b"index\n"


def test_one_address_serves_that_family_alone(cleanup: ExitStack) -> None:
    """A server on ::1 is not there for IPv4."""
    server = cleanup.enter_context(MetricsServer("::1", 0, ROUTES))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=20)


def test_port_in_use_is_a_clear_error(server: MetricsServer) -> None:
    """The second server on a port does not start; the error names the address and the flag."""
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{server.port}: another program .* with --listen HOST:PORT"):
        MetricsServer("127.0.0.1", server.port, ROUTES)


def test_unmatched_address_is_a_clear_error() -> None:
    """An address of another machine cannot be listened on."""
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1:0: no interface of this node has this address"):
        MetricsServer("192.0.2.1", 0, ROUTES)


def test_port_out_of_range_is_a_clear_error() -> None:
    """70000 is no port."""
    with pytest.raises(ConfigError, match=r"\[::\]:70000: a port is a number from 0 to 65535"):
        MetricsServer("::", 70000, ROUTES)


def test_200_idle_clients_do_not_stop_a_scrape(cleanup: ExitStack, server: MetricsServer) -> None:
    """With 211 silent connections open, 23 scrapes are answered, by 16 threads at most."""
    for _ in range(211):
        connect(cleanup, server)
    for _ in range(23):
        assert get(cleanup, server, "/streamed") == (200, b"alpha\nbeta\n")
        assert workers() <= 16


def test_idle_client_is_sent_away_in_time(cleanup: ExitStack) -> None:
    """A client that sends half a request, or that keeps a connection and asks nothing more, is ended."""
    server = cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES, limits=Limits(idle_seconds=0.2)))
    half = connect(cleanup, server, b"GET / HT")
    kept = connect(cleanup, server, b"GET / HTTP/1.1\r\n\r\n")
    assert everything_from(half) == b""
    assert everything_from(kept).endswith(b"index\n")
    wait_until(lambda: workers() == 0)


def test_trickling_client_gains_no_time(cleanup: ExitStack) -> None:
    """A header line every 10 ms does not put the end off."""
    server = cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES, limits=Limits(idle_seconds=0.2)))
    client = connect(cleanup, server, b"GET / HTTP/1.1\r\n", timeout=0.01)

    def ended() -> bool:
        try:
            client.sendall(b"x: y\r\n")
            return client.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    wait_until(ended)


def test_client_that_does_not_read_is_sent_away(cleanup: ExitStack) -> None:
    """A client that asks for much and reads nothing loses its worker; nobody calls that an error."""
    server = cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES, limits=Limits(answer_seconds=0.2)))
    connect(cleanup, server, b"GET /endless HTTP/1.1\r\n\r\n")
    wait_until(lambda: workers() == 1)
    wait_until(lambda: workers() == 0)
    assert server.errors == {}


def test_slow_readers_give_way_to_a_scrape(cleanup: ExitStack) -> None:
    """With every worker held by a client that does not read, the next scrape displaces the slowest."""
    limits = Limits(clients=3, grace_seconds=0.1)
    server = cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES, limits=limits))
    for _ in range(3):
        # An answer's first byte shows that the worker is answering, not waiting.
        connect(cleanup, server, b"GET /endless HTTP/1.1\r\n\r\n").recv(1)
    assert get(cleanup, server) == (200, b"index\n")


def test_no_thread_outlives_its_client(cleanup: ExitStack, server: MetricsServer) -> None:
    """After 47 scrapes, each over a connection of its own, no worker is left."""
    for _ in range(47):
        assert get(cleanup, server)[0] == 200
    wait_until(lambda: workers() == 0)


def test_failing_route_is_logged_once(
    cleanup: ExitStack, server: MetricsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A route that raises is answered 500 each time, counted each time, and logged the first time alone."""
    with caplog.at_level(logging.INFO):
        statuses = [get(cleanup, server, "/failing")[0] for _ in range(3)]
    assert statuses == [500, 500, 500]
    assert server.errors == {"ValueError": 3}
    assert [record.name for record in caplog.records] == ["monlat_ebpf.exposition.http"]
    assert "a defect" in caplog.text


def test_errors_reach_the_counter_given(cleanup: ExitStack) -> None:
    """Whoever made the server is told the name of each exception."""
    kinds: list[str] = []
    server = cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES, count_error=kinds.append))
    get(cleanup, server, "/failing")
    assert kinds == ["ValueError"]


def test_answer_that_breaks_off_is_not_taken_for_whole(cleanup: ExitStack, server: MetricsServer) -> None:
    """When making an answer fails half-way, the client misses the end of it, so a scrape fails."""
    with pytest.raises(http.client.IncompleteRead):
        get(cleanup, server, "/breaking-off")
    assert server.errors == {"KeyError": 1}


def test_client_that_goes_away_is_no_error(
    cleanup: ExitStack, server: MetricsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A reset in mid-answer ends that worker; nothing is counted or logged."""
    client = connect(cleanup, server, b"GET /endless HTTP/1.1\r\n\r\n")
    client.recv(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    wait_until(lambda: workers() == 0)
    assert (server.errors, caplog.records) == ({}, [])


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n",  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000,
        b"x" * 70000,
    ],
)
def test_garbage_ends_its_own_connection_alone(
    cleanup: ExitStack, server: MetricsServer, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    """What is no HTTP gets an error or the door, is nothing to log, and the next client is served."""
    client = connect(cleanup, server)
    try:
        client.sendall(garbage)
        client.shutdown(socket.SHUT_WR)
    except ConnectionError:
        pass  # the server had read enough
    everything_from(client)
    assert get(cleanup, server) == (200, b"index\n")
    assert (server.errors, caplog.records) == ({}, [])


def test_close_is_prompt_though_clients_hang(cleanup: ExitStack) -> None:
    """Idle, half-asking and unreading clients, and a route that is stuck, hold a closing server less than 0.5 s."""
    stuck = threading.Event()
    cleanup.callback(stuck.set)

    def wait(_: Request) -> Response:
        stuck.wait(60)
        return Response(b"")

    server = MetricsServer("127.0.0.1", 0, {**ROUTES, "/stuck": wait})
    server.start()
    cleanup.callback(server.close)
    for sent in (b"", b"GET /", b"GET /endless HTTP/1.1\r\n\r\n", b"GET /stuck HTTP/1.1\r\n\r\n"):
        connect(cleanup, server, sent)
    wait_until(lambda: workers() == 4)
    start = time.monotonic()
    server.close()
    assert time.monotonic() - start < 0.5
    with pytest.raises(ConnectionRefusedError):
        connect(cleanup, server)
    stuck.set()
    wait_until(lambda: workers() == 0)


def test_close_frees_the_port_and_may_be_called_again(cleanup: ExitStack) -> None:
    """The port of a closed server, or of one never started, can be taken at once."""
    server = MetricsServer("127.0.0.1", 0, ROUTES)
    port = server.port
    server.close()
    server.close()
    with MetricsServer("127.0.0.1", port, ROUTES) as second:
        get(cleanup, second)
    with MetricsServer("127.0.0.1", port, ROUTES) as third:
        assert get(cleanup, third) == (200, b"index\n")


def test_process_out_of_descriptors_recovers(
    cleanup: ExitStack, server: MetricsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """While the process may open nothing more, that is counted at leisure and logged once; then clients are served."""
    client = cleanup.enter_context(socket.socket())
    client.settimeout(20)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        start = time.monotonic()
        client.connect(("127.0.0.1", server.port))
        wait_until(lambda: server.errors["OSError"] >= 3)
        assert server.errors["OSError"] <= (time.monotonic() - start) / 0.1 + 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert everything_from(client).endswith(b"index\n")
    assert len(caplog.records) == 1
