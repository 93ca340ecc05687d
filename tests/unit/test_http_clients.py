"""The HTTP server over loopback: no client keeps it from serving others, and it ends whatever they do."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from monlat_ebpf.exposition.http import Limits, MetricsServer, Response
from testkit.waiting import wait_until
from tests.unit.http_server import ROUTES, connect, everything_from, get


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server(cleanup: ExitStack) -> MetricsServer:
    return cleanup.enter_context(MetricsServer([("127.0.0.1", 0)], ROUTES))


def test_200_idle_clients_do_not_stop_a_scrape(cleanup: ExitStack, server: MetricsServer) -> None:
    """With 211 silent connections open, 23 scrapes are answered, and at most 64 connections are kept."""
    for _ in range(211):
        connect(cleanup, server)
    for _ in range(23):
        assert get(cleanup, server, "/streamed") == (200, b"alpha\nbeta\n")
        assert server.clients <= 64


def test_idle_client_is_disconnected_in_time(cleanup: ExitStack) -> None:
    """A client that sends half a request, or keeps a connection without a further request, is disconnected."""
    server = cleanup.enter_context(MetricsServer([("127.0.0.1", 0)], ROUTES, limits=Limits(idle_seconds=0.2)))
    half = connect(cleanup, server, b"GET / HT")
    kept = connect(cleanup, server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert everything_from(half) == b""
    assert everything_from(kept).endswith(b"index\n")
    wait_until(lambda: server.clients == 0)


def test_client_that_sends_slowly_gains_no_time(cleanup: ExitStack) -> None:
    """A header line every 10 ms does not extend the time limit."""
    server = cleanup.enter_context(MetricsServer([("127.0.0.1", 0)], ROUTES, limits=Limits(idle_seconds=0.2)))
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
    server = cleanup.enter_context(MetricsServer([("127.0.0.1", 0)], ROUTES, limits=Limits(answer_seconds=0.2)))
    connect(cleanup, server, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: server.clients == 1)
    wait_until(lambda: server.clients == 0)
    assert server.errors == {}


def test_slow_readers_give_way_to_a_scrape(cleanup: ExitStack) -> None:
    """With every connection held by a client that does not read, the next client ends the oldest answer."""
    limits = Limits(clients=3)
    server = cleanup.enter_context(MetricsServer([("127.0.0.1", 0)], ROUTES, limits=limits))
    for _ in range(3):
        # The first byte shows that the server is answering.
        connect(cleanup, server, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").recv(1)
    assert get(cleanup, server) == (200, b"index\n")


def test_no_connection_outlives_its_client(cleanup: ExitStack, server: MetricsServer) -> None:
    """After 47 scrapes, each over a connection of its own, the server has none left."""
    for _ in range(47):
        assert get(cleanup, server)[0] == 200
    wait_until(lambda: server.clients == 0)


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

    server = MetricsServer([("127.0.0.1", 0)], {**ROUTES, "/stuck": lambda request: Response(wait)})
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
    server = MetricsServer([("127.0.0.1", 0)], ROUTES)
    port = server.port
    server.close()
    server.close()
    with MetricsServer([("127.0.0.1", port)], ROUTES) as second:
        get(cleanup, second)
    with MetricsServer([("127.0.0.1", port)], ROUTES) as third:
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
    return cleanup.enter_context(MetricsServer([("127.0.0.1", 0)], routes))


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
    server = cleanup.enter_context(MetricsServer([("127.0.0.1", 0)], ROUTES, limits=Limits(renderings=3)))
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
