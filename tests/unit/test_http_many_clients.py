"""Many clients of the HTTP server: who goes when there are too many, who sends next, and how fast they are taken."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from itertools import count
from typing import cast

import pytest

from monlat_ebpf.exposition.acceptor import Acceptor
from monlat_ebpf.exposition.clients import Clients
from monlat_ebpf.exposition.http import Limits, MetricsServer
from monlat_ebpf.exposition.listener import listen
from monlat_ebpf.exposition.turns import PIECES_A_TURN, Turns
from testkit.waiting import wait_until
from tests.unit.http_server import ROUTES, connect, everything_from, get

LARGE = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class FakeClient:
    """A connection that has asked at `since`, or has not."""

    moments = count()

    def __init__(self, clients: Clients, *, is_answered: bool = False) -> None:
        self._clients = clients
        self.is_answered = is_answered
        self.since: float = next(self.moments)
        self.is_ended = False
        clients.admit(self)

    def abort(self) -> None:
        self._clients.leave(self)
        self.is_ended = True

    def ask(self) -> None:
        self.is_answered, self.since = True, next(self.moments)


def test_newcomer_has_time_to_ask() -> None:
    """All 64 take an answer. A newcomer stays while 31 more come, so each can ask before it goes."""
    clients = Clients(64)
    answered = [FakeClient(clients, is_answered=True) for _ in range(64)]
    newcomers = [FakeClient(clients) for _ in range(32)]
    assert not any(client.is_ended for client in newcomers)
    assert [client.is_ended for client in answered] == 32 * [True] + 32 * [False]
    assert len(clients) == 64


def test_silent_clients_end_no_answer() -> None:
    """However many come and say nothing: half of the connections are for answers."""
    clients = Clients(64)
    answered = [FakeClient(clients, is_answered=True) for _ in range(32)]
    silent = [FakeClient(clients) for _ in range(1009)]
    assert not any(client.is_ended for client in answered)
    assert [client.is_ended for client in silent] == (1009 - 32) * [True] + 32 * [False]


def test_silence_is_counted_from_its_last_answer() -> None:
    """Who has asked a moment ago stays longer than who came after it and said nothing."""
    clients = Clients(2)
    first, second = FakeClient(clients), FakeClient(clients)
    first.ask()
    first.is_answered = False
    FakeClient(clients)
    assert (first.is_ended, second.is_ended) == (False, True)


def test_health_is_answered_while_others_come(cleanup: ExitStack) -> None:
    """Eight slow readers have every connection. Who comes then is answered, though others come before it asks."""
    server = cleanup.enter_context(MetricsServer([("127.0.0.1", 0)], ROUTES, limits=Limits(clients=8)))
    for _ in range(8):
        connect(cleanup, server, LARGE).recv(1)
    kubelet = connect(cleanup, server)
    gone = connect(cleanup, server)
    gone.close()
    for _ in range(3):
        connect(cleanup, server, LARGE).recv(1)
    kubelet.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert everything_from(kubelet).endswith(b"index\n")


class FakeSender:
    """Has so many pieces, and notes in which turn of the loop it sends each."""

    def __init__(self, turns: Turns, pieces: int, sent: Counter[int], turn: Callable[[], int]) -> None:
        self._turns, self.left, self._sent, self._turn = turns, pieces, sent, turn
        turns.join(self)

    def take_turn(self) -> None:
        self._sent[self._turn()] += 1
        self.left -= 1
        if self.left:
            self._turns.join(self)


def test_hundred_senders_take_turns() -> None:
    """In no turn of the loop more than PIECES_A_TURN are sent; nobody is a piece ahead of those who came before."""
    calls: list[Callable[[], None]] = []
    turn = 0
    sent: Counter[int] = Counter()
    turns = Turns(calls.append)
    senders = [FakeSender(turns, 3, sent, lambda: turn) for _ in range(100)]
    while calls:
        now, calls[:] = list(calls), []
        for call in now:
            call()
        turn += 1
        left = [sender.left for sender in senders]
        assert max(left) - min(left) <= 1
    assert sum(sent.values()) == 300
    assert max(sent.values()) == PIECES_A_TURN


def test_sender_that_fails_stops_no_other() -> None:
    """Each has a call of its own, as the event loop isolates them."""
    calls: list[Callable[[], None]] = []
    turns = Turns(calls.append)
    sent: Counter[int] = Counter()

    class Failing:
        def take_turn(self) -> None:
            raise ValueError("a defect")

    turns.join(Failing())
    sender = FakeSender(turns, 2, sent, lambda: 0)
    failures = 0
    while calls:
        try:
            calls.pop(0)()
        except ValueError:
            failures += 1
    assert (failures, sender.left) == (1, 0)


class Taken:
    """A listener with an acceptor on a loop of its own, and what of its clients became a connection."""

    def __init__(self, cleanup: ExitStack) -> None:
        self.transports: list[asyncio.Transport] = []
        self.loop = cleanup.enter_context(closing(asyncio.new_event_loop()))
        self.listener = cleanup.enter_context(listen("127.0.0.1", 0))
        self.acceptor = Acceptor(self.loop, self.listener, lambda: Noting(self.transports), lambda error: None, 64)
        cleanup.callback(self.close)

    def pass_turns(self, turns: int) -> None:
        async def passed() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(passed())

    def ports(self) -> list[int]:
        """The clients' ports, in the order in which they became connections."""
        return [transport.get_extra_info("peername")[1] for transport in self.transports]

    def close(self) -> None:
        self.loop.run_until_complete(self.acceptor.stop())
        for transport in self.transports:
            transport.abort()
        self.pass_turns(1)  # as MetricsServer gives them


class Noting(asyncio.Protocol):
    def __init__(self, transports: list[asyncio.Transport]) -> None:
        self._transports = transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transports.append(cast(asyncio.Transport, transport))


@pytest.mark.parametrize("turns", range(5))
def test_stop_closes_clients_in_every_state(turns: int) -> None:
    """A client that waits, that is being connected, or that is connected: none is left open, however early it is."""
    with socket.socket() as client:
        client.settimeout(10)
        with ExitStack() as cleanup:
            taken = Taken(cleanup)
            taken.acceptor.start()
            client.connect(taken.listener.getsockname())
            taken.pass_turns(turns)
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""


@pytest.fixture
def taken(cleanup: ExitStack) -> Taken:
    return Taken(cleanup)


def client_of(taken: Taken, cleanup: ExitStack, sent: bytes = b"") -> socket.socket:
    client = cleanup.enter_context(socket.create_connection(taken.listener.getsockname()[:2], timeout=20))
    client.sendall(sent)
    return client


def test_several_clients_are_taken_in_a_turn(taken: Taken, cleanup: ExitStack) -> None:
    """40 that wait are connected within 12 turns of the loop; asyncio's own server takes one in a turn."""
    for _ in range(40):
        client_of(taken, cleanup)
    taken.acceptor.start()
    taken.pass_turns(12)
    assert len(taken.transports) == 40


@pytest.mark.parametrize("asked", [b"GET /healthz HTTP/1.1\r\n", b"GET /readyz HTTP/1.1\r\n"])
def test_kubelet_comes_first(asked: bytes, taken: Taken, cleanup: ExitStack) -> None:
    """Behind 201 clients that ask for /metrics it is the first of all; there is room for 64 of them."""
    for _ in range(201):
        client_of(taken, cleanup, LARGE)
    kubelet = client_of(taken, cleanup, asked)
    taken.acceptor.start()
    taken.pass_turns(23)
    assert taken.ports()[0] == kubelet.getsockname()[1]
    assert len(taken.transports) == 65


def test_clients_that_have_left_are_not_connected(taken: Taken, cleanup: ExitStack) -> None:
    """Of 101 that ask and reset their connection none is; one that waits is."""
    for _ in range(101):
        client = client_of(taken, cleanup, LARGE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    waiting = client_of(taken, cleanup)
    taken.acceptor.start()
    taken.pass_turns(23)
    assert taken.ports() == [waiting.getsockname()[1]]


def test_2000_scrapers_that_read_nothing_hold_64_connections(cleanup: ExitStack) -> None:
    """Each is connected until the server ends it. /healthz and a scrape are served afterwards."""
    server = cleanup.enter_context(MetricsServer([("127.0.0.1", 0)], ROUTES))
    waiting: deque[socket.socket] = deque()
    for number in range(2003):
        waiting.append(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        waiting[-1].sendall(LARGE)
        if number % 97 == 0:
            assert get(cleanup, server, "/streamed") == (200, b"alpha\nbeta\n")
            assert server.clients <= 64
        if len(waiting) > 200:
            waiting.popleft().close()
    for client in waiting:
        client.close()
    wait_until(lambda: server.clients == 0)
