"""Which connection gives way, decided from times alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from monlat_ebpf.exposition.clients import Client, Clients, Limits, overdue, to_displace

LIMITS = Limits(clients=4, idle_seconds=75, answer_seconds=30, grace_seconds=5)
NOW = 1000.0


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    with socket.socket() as unconnected:
        yield unconnected


def test_longest_idle_client_gives_way(connection: socket.socket) -> None:
    """Of two idle clients the one that waits longer goes, though an answer is older than both."""
    old, young = Client(connection, NOW - 20), Client(connection, NOW - 10)
    answering = Client(connection, NOW - 25, answering=True)
    assert to_displace([young, old, answering], NOW, LIMITS) is old


def test_slowest_reader_gives_way_when_nobody_idles(connection: socket.socket) -> None:
    """With answers alone the oldest goes, once it is older than the grace."""
    slow, slower = Client(connection, NOW - 6, answering=True), Client(connection, NOW - 7, answering=True)
    assert to_displace([slow, slower], NOW, LIMITS) is slower


def test_answers_in_good_time_are_left_in_peace(connection: socket.socket) -> None:
    """Nobody goes while every client is being answered within the grace."""
    assert to_displace([Client(connection, NOW - 4, answering=True)], NOW, LIMITS) is None
    assert to_displace([], NOW, LIMITS) is None


def test_each_phase_has_its_time(connection: socket.socket) -> None:
    """75 s to ask and 30 s to take the answer; what is past that is overdue."""
    clients = [
        Client(connection, NOW - 74),
        Client(connection, NOW - 76),
        Client(connection, NOW - 29, answering=True),
        Client(connection, NOW - 31, answering=True),
    ]
    assert overdue(clients, NOW, LIMITS) == [clients[1], clients[3]]


def test_each_phase_begins_its_time_anew() -> None:
    """A kept connection may ask again and again: only 75 s without a request end it, not its age."""
    now = NOW
    clients = Clients(LIMITS, clock=lambda: now)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        clients.admit(ours)
        for step, answering in [(70, True), (20, False), (70, True), (20, False), (70, True)]:
            now += step
            clients.shut_overdue()
            clients.enter(ours, answering=answering)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        now += 31
        clients.shut_overdue()
        assert theirs.recv(1) == b""
