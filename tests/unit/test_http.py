"""The HTTP server over loopback: what it answers, and that no client keeps it from serving others."""

from __future__ import annotations

import http.client
import logging
import os
import resource
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from monlat_ebpf.errors import ConfigError
from monlat_ebpf.exposition.http import Limits, MetricsServer, Request, Response, Route
from testkit.waiting import wait_until

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


def test_answer_in_chunks_arrives_whole(cleanup: ExitStack, server: MetricsServer) -> None:
    """A body rendered in chunks, an empty one among them, arrives complete and with its length."""
    connection = request(cleanup, server)
    connection.request("GET", "/streamed?now=1")
    with connection.getresponse() as answer:
        assert (answer.status, answer.getheader("Content-Length")) == (200, "11")
        assert answer.getheader("Content-Type") == "text/plain; charset=utf-8"
        assert answer.read() == b"alpha\nbeta\n"


def test_http_1_0_client_gets_the_plain_text(cleanup: ExitStack, server: MetricsServer) -> None:
    """A client of HTTP/1.0 gets the same bytes, and the end of the connection as their end."""
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


def test_head_has_the_length_of_the_body(cleanup: ExitStack, server: MetricsServer) -> None:
    """HEAD of a fixed body has the Content-Length of GET."""
    connection = request(cleanup, server)
    connection.request("HEAD", "/")
    with connection.getresponse() as answer:
        assert answer.getheader("Content-Length") == "6"


def test_unknown_path_lists_the_paths_that_exist(cleanup: ExitStack, server: MetricsServer) -> None:
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
    """A GET with a body is answered once and the connection ended, so that the body is never parsed as a request."""
    smuggled = b"GET /accept HTTP/1.1\r\nHost: a\r\n\r\n"
    client = connect(
        cleanup, server, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(smuggled), smuggled)
    )
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
    """A server on ::1 refuses IPv4."""
    server = cleanup.enter_context(MetricsServer("::1", 0, ROUTES))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=20)


def test_port_in_use_is_a_clear_error(server: MetricsServer) -> None:
    """The second server on a port does not start; the error names the address and the flag."""
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{server.port}: another program .* with --listen HOST:PORT"):
        MetricsServer("127.0.0.1", server.port, ROUTES)


def test_address_of_another_machine_is_a_clear_error() -> None:
    """An address of another machine cannot be listened on."""
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1:0: no interface of this node has this address"):
        MetricsServer("192.0.2.1", 0, ROUTES)


def test_port_out_of_range_is_a_clear_error() -> None:
    """70000 is no port."""
    with pytest.raises(ConfigError, match=r"\[::\]:70000: a port is a number from 0 to 65535"):
        MetricsServer("::", 70000, ROUTES)


def test_200_idle_clients_do_not_stop_a_scrape(cleanup: ExitStack, server: MetricsServer) -> None:
    """With 211 silent connections open, 23 scrapes are answered, and at most 64 connections are kept."""
    for _ in range(211):
        connect(cleanup, server)
    for _ in range(23):
        assert get(cleanup, server, "/streamed") == (200, b"alpha\nbeta\n")
        assert server.clients <= 64


def test_idle_client_is_disconnected_in_time(cleanup: ExitStack) -> None:
    """A client that sends half a request, or keeps a connection without a further request, is disconnected."""
    server = cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES, limits=Limits(idle_seconds=0.2)))
    half = connect(cleanup, server, b"GET / HT")
    kept = connect(cleanup, server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert everything_from(half) == b""
    assert everything_from(kept).endswith(b"index\n")
    wait_until(lambda: server.clients == 0)


def test_client_that_sends_slowly_gains_no_time(cleanup: ExitStack) -> None:
    """A header line every 10 ms does not extend the time limit."""
    server = cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES, limits=Limits(idle_seconds=0.2)))
    client = connect(cleanup, server, b"GET / HTTP/1.1\r\nHost: a\r\n", timeout=0.01)

    def ended() -> bool:
        try:
            client.sendall(b"x: y\r\n")
            return client.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    wait_until(ended)


def test_client_that_does_not_read_is_disconnected(cleanup: ExitStack) -> None:
    """A client that requests a large body and reads nothing is disconnected; that is not counted as an error."""
    server = cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES, limits=Limits(answer_seconds=0.2)))
    connect(cleanup, server, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: server.clients == 1)
    wait_until(lambda: server.clients == 0)
    assert server.errors == {}


def test_slow_readers_give_way_to_a_scrape(cleanup: ExitStack) -> None:
    """With every connection held by a client that does not read, the next client ends the oldest answer."""
    limits = Limits(clients=3)
    server = cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES, limits=limits))
    for _ in range(3):
        # The first byte shows that the server is answering.
        connect(cleanup, server, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").recv(1)
    assert get(cleanup, server) == (200, b"index\n")


def test_no_connection_outlives_its_client(cleanup: ExitStack, server: MetricsServer) -> None:
    """After 47 scrapes, each over a connection of its own, the server has none left."""
    for _ in range(47):
        assert get(cleanup, server)[0] == 200
    wait_until(lambda: server.clients == 0)


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
    """`count_error` is called with the name of each exception."""
    kinds: list[str] = []
    server = cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES, count_error=kinds.append))
    get(cleanup, server, "/failing")
    assert kinds == ["ValueError"]


def test_rendering_that_fails_half_way_is_an_error(cleanup: ExitStack, server: MetricsServer) -> None:
    """When rendering fails after the first chunk, the client gets 500 and no part of the body."""
    status, body = get(cleanup, server, "/breaking-off")
    assert status == 500
    assert b"half" not in body
    assert server.errors == {"KeyError": 1}


def test_client_that_disconnects_is_no_error(
    cleanup: ExitStack, server: MetricsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A reset during an answer ends that connection; nothing is counted or logged."""
    client = connect(cleanup, server, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    client.recv(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    wait_until(lambda: server.clients == 0)
    assert (server.errors, caplog.records) == ({}, [])


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n",  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 1000,
        b"x" * 70000,
    ],
)
def test_garbage_ends_its_own_connection_alone(
    cleanup: ExitStack, server: MetricsServer, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    """Bytes that are not HTTP get an error or a closed connection, are not logged, and the next client is served."""
    client = connect(cleanup, server)
    try:
        client.sendall(garbage)
        client.shutdown(socket.SHUT_WR)
    except ConnectionError:
        pass  # the server had read enough
    everything_from(client)
    assert get(cleanup, server) == (200, b"index\n")
    assert (server.errors, caplog.records) == ({}, [])


def test_close_waits_for_no_client(cleanup: ExitStack) -> None:
    """Idle clients, half requests, clients that do not read and a stuck rendering do not keep `close` waiting."""
    stuck = threading.Event()
    cleanup.callback(stuck.set)

    def wait() -> list[bytes]:
        stuck.wait(60)
        return []

    server = MetricsServer("127.0.0.1", 0, {**ROUTES, "/stuck": lambda request: Response(wait)})
    server.start()
    cleanup.callback(server.close)
    for sent in (b"", b"GET /", b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n"):
        connect(cleanup, server, sent)
    wait_until(lambda: server.clients == 4)
    server.close()
    assert not stuck.is_set()
    with pytest.raises(ConnectionRefusedError):
        connect(cleanup, server)
    stuck.set()
    wait_until(lambda: server.clients == 0)


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
    """While the process may open no descriptor, errors are counted, at most 10 a second; then clients are served."""
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


def test_gzip_is_sent_to_clients_that_accept_it(cleanup: ExitStack, server: MetricsServer) -> None:
    """A client that accepts gzip gets a rendered body compressed, with the type of the body inside."""
    connection = request(cleanup, server)
    connection.request("GET", "/streamed", headers={"Accept-Encoding": "deflate, gzip;q=0.5"})
    with connection.getresponse() as answer:
        assert answer.getheader("Content-Encoding") == "gzip"
        assert answer.getheader("Vary") == "Accept-Encoding"
        assert zlib.decompress(answer.read(), 16 + zlib.MAX_WBITS) == b"alpha\nbeta\n"


def test_large_answer_arrives_whole_without_gzip(cleanup: ExitStack, server: MetricsServer) -> None:
    """All 16 MiB arrive, unpacked piece by piece."""
    assert get(cleanup, server, "/large") == (200, b"x" * (65536 * 256))


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET http://node1:10045/accept?a HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
        (b"GET http://node1 HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # RFC 9112, section 3.2: no Host
        (b"GET /" + b"x" * 7995 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"GET /" + b"x" * 8000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414"),
        (b"GET /" + b"x" * 70000, b"414"),
        (b"GET / HTTP/1.1\r\nHost: a\r\na: " + b"x" * 32768 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\na: " + b"x" * 32768, b"431"),
    ],
)
def test_request_head_is_checked(cleanup: ExitStack, server: MetricsServer, head: bytes, status: bytes) -> None:
    """Absolute-form targets are served; too long a target is 414, too long headers are 431, no Host is 400."""
    client = connect(cleanup, server, head)
    assert client.recv(65536).split()[1] == status


def test_pipelined_requests_are_answered_in_order(cleanup: ExitStack, server: MetricsServer) -> None:
    """Three requests in one segment get three answers in their order, a rendered body among them."""
    ask = b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n"
    client = connect(
        cleanup, server, ask % (b"/", b"") + ask % (b"/streamed", b"") + ask % (b"/n", b"Connection: close\r\n")
    )
    received = everything_from(client)
    assert received.count(b"HTTP/1.1 ") == 3
    assert 0 < received.find(b"index\n") < received.find(b"alpha\nbeta\n") < received.find(b"404")


class Gate:
    """Renders a chunk, then waits until it is opened, then renders more; counts what it did."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = 0
        self.most_at_once = 0
        self.chunks = 0
        self.opened = threading.Event()

    def render(self) -> Iterator[bytes]:
        self.begun += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield b"first\n"
            assert self.opened.wait(60)
            for _ in range(97):
                self.chunks += 1
                yield b"more\n"
        finally:
            self.at_once -= 1


@pytest.fixture
def gate(cleanup: ExitStack) -> Gate:
    gate = Gate()
    cleanup.callback(gate.opened.set)
    return gate


@pytest.fixture
def gated(cleanup: ExitStack, gate: Gate) -> MetricsServer:
    routes = {**ROUTES, "/gate": lambda request: Response(gate.render)}
    return cleanup.enter_context(MetricsServer("127.0.0.1", 0, routes))


GATE = b"GET /gate HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def test_rendering_does_not_block_other_answers(cleanup: ExitStack, gate: Gate, gated: MetricsServer) -> None:
    """While a rendering takes its time, the routes that need none are answered."""
    client = connect(cleanup, gated, GATE)
    wait_until(lambda: gate.begun == 1)
    assert get(cleanup, gated) == (200, b"index\n")
    gate.opened.set()
    assert everything_from(client).endswith(b"first\n" + 97 * b"more\n")


def test_waiting_clients_share_a_rendering(cleanup: ExitStack, gate: Gate, gated: MetricsServer) -> None:
    """Of 23 clients the first is rendered for alone, all that wait meanwhile share the next; one runs at a time."""
    clients = [connect(cleanup, gated, GATE)]
    wait_until(lambda: gate.begun == 1)
    clients += [connect(cleanup, gated, GATE) for _ in range(22)]
    wait_until(lambda: gated.clients == 23)
    assert get(cleanup, gated)[0] == 200  # the loop has read the requests that came before this one
    gate.opened.set()
    for client in clients:
        assert everything_from(client).endswith(b"first\n" + 97 * b"more\n")
    assert (gate.begun, gate.most_at_once) == (2, 1)


def test_abandoned_request_is_not_rendered(cleanup: ExitStack, gate: Gate, gated: MetricsServer) -> None:
    """When all clients have left, the running rendering ends at its next chunk and the waiting one never begins."""
    clients = [connect(cleanup, gated, GATE)]
    wait_until(lambda: gate.begun == 1)
    clients += [connect(cleanup, gated, GATE) for _ in range(19)]
    wait_until(lambda: gated.clients == 20)
    for client in clients:
        client.close()
    wait_until(lambda: gated.clients == 0)
    gate.opened.set()
    assert get(cleanup, gated, "/streamed") == (200, b"alpha\nbeta\n")
    assert (gate.begun, gate.chunks) == (1, 1)


def test_rendered_bodies_in_memory_are_few(cleanup: ExitStack) -> None:
    """With 3 bodies held by clients that do not read, the next body ends the client of the oldest."""
    server = cleanup.enter_context(MetricsServer("127.0.0.1", 0, ROUTES, limits=Limits(renderings=3)))
    slow = []
    for _ in range(4):
        slow.append(connect(cleanup, server, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"))
        slow[-1].recv(1)
    wait_until(lambda: server.clients == 3)
    assert len(everything_from(slow[0])) < 65536 * 256


def test_client_that_sends_far_ahead_is_disconnected(cleanup: ExitStack, gate: Gate, gated: MetricsServer) -> None:
    """A client that sends 64 KB more while it waits for an answer is ended: its bytes would fill the memory."""
    client = connect(cleanup, gated, GATE)
    wait_until(lambda: gate.begun == 1)
    client.sendall(b"x" * 65536)
    assert everything_from(client) == b""
