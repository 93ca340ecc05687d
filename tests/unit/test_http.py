"""The HTTP server over loopback: what it answers."""

from __future__ import annotations

import http.client
import logging
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from monlat_ebpf.errors import ConfigError
from monlat_ebpf.exposition.http import MetricsServer
from testkit.waiting import wait_until
from tests.unit.http_server import ROUTES, connect, everything_from, get, request


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server(cleanup: ExitStack) -> MetricsServer:
    return cleanup.enter_context(MetricsServer([("127.0.0.1", 0)], ROUTES))


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
    server = cleanup.enter_context(MetricsServer([("[::]", 0)], ROUTES))
    for address in ("127.0.0.1", "::1"):
        connection = cleanup.enter_context(closing(http.client.HTTPConnection(address, server.port, timeout=20)))
        connection.request("GET", "/")
        with connection.getresponse() as answer:
            assert answer.read() == b"index\n"


def test_head_has_no_body_whatever_the_answer(cleanup: ExitStack, server: MetricsServer) -> None:
    """Neither where nothing is, nor where the target is too long: the connection stays in step, or ends."""
    connection = request(cleanup, server)
    statuses = []
    for path in ("/none", "/", "/" + "x" * 9000):
        connection.request("HEAD", path)
        with connection.getresponse() as answer:
            statuses.append((answer.status, answer.read()))
    assert statuses == [(404, b""), (200, b""), (414, b"")]
    assert server.errors == {}


def test_one_address_serves_that_family_alone(cleanup: ExitStack) -> None:
    """A server on ::1 refuses IPv4."""
    server = cleanup.enter_context(MetricsServer([("::1", 0)], ROUTES))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=20)


def test_port_in_use_is_a_clear_error(server: MetricsServer) -> None:
    """The second server on a port does not start; the error names the address and the flag."""
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{server.port}: another program .* with --listen HOST:PORT"):
        MetricsServer([("127.0.0.1", server.port)], ROUTES)


def test_address_of_another_machine_is_a_clear_error() -> None:
    """An address of another machine cannot be listened on."""
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1:0: no interface of this node has this address"):
        MetricsServer([("192.0.2.1", 0)], ROUTES)


def test_port_out_of_range_is_a_clear_error() -> None:
    """70000 is no port."""
    with pytest.raises(ConfigError, match=r"\[::\]:70000: a port is a number from 0 to 65535"):
        MetricsServer([("::", 70000)], ROUTES)


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
    server = cleanup.enter_context(MetricsServer([("127.0.0.1", 0)], ROUTES, count_error=kinds.append))
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


def test_connection_that_closes_after_a_large_answer_is_no_error(
    cleanup: ExitStack, server: MetricsServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of 16 MiB is sent when the client has read enough, and closes the connection: nothing is logged."""
    for _ in range(7):
        get(cleanup, server, "/large")
    wait_until(lambda: server.clients == 0)
    assert get(cleanup, server) == (200, b"index\n")  # asyncio has reported every connection as lost by now
    assert (server.errors, caplog.records) == ({}, [])


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET http://node1:10045/accept?a HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
        (b"GET http://node1 HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
        (b"GET HTTPS://node1/none HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"GET http://node1?a=/none HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),  # the path is empty
        (b"GET http:///accept HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),  # RFC 9110, section 4.2.1: no host
        (b"GET ftp://node1/ HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"GET accept HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
        (b"CONNECT node1:443 HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # RFC 9112, section 3.2: no Host
        (b"GET /" + b"x" * 7995 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"GET /" + b"x" * 8000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414"),
        (b"GET /" + b"x" * 70000, b"414"),
        (b"GET / HTTP/1.1\r\nHost: a\r\na: " + b"x" * 32768 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\na: " + b"x" * 32768, b"431"),
    ],
)
def test_request_head_is_checked(cleanup: ExitStack, server: MetricsServer, head: bytes, status: bytes) -> None:
    """Absolute-form targets are served; too long a target is 414, too long headers are 431, no Host is 400.

    A target of a form that its method does not have is 400 (RFC 9112, section 3.2).
    """
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
