"""Which clients are connected, and which one goes when there are too many. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Client(Protocol):
    """A connection. `is_answered`: it has asked, and its answer is rendered or sent; `since` it is or is not."""

    is_answered: bool
    since: float

    def abort(self) -> None:
        """End the connection, and leave."""


class Clients:
    """At most `most` connections.

    A newcomer ends another one: the one that has been silent longest if half of them are silent, else the oldest
    answer. So it has time to ask, /healthz for instance, however many others come, ask and do not read.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._connected: dict[Client, None] = {}

    def admit(self, newcomer: Client) -> None:
        """Make room for `newcomer`, and remember it."""
        if len(self._connected) >= self._most:
            silent = [client for client in self._connected if not client.is_answered]
            answered = [client for client in self._connected if client.is_answered]
            min(silent if len(silent) >= len(answered) else answered, key=lambda client: client.since).abort()
        self._connected[newcomer] = None

    def leave(self, client: Client) -> None:
        """Forget `client`."""
        self._connected.pop(client, None)

    def __len__(self) -> int:
        return len(self._connected)

    def __iter__(self) -> Iterator[Client]:
        return iter(tuple(self._connected))
