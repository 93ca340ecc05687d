"""Lets the clients that take a body send one piece after the other, so that many of them delay nobody else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol

PIECES_A_TURN: Final = 8  # a quarter of a megabyte, then the event loop looks for other clients


class Sender(Protocol):
    """A client that takes a body."""

    def take_turn(self) -> None:
        """Send one piece, and join again if there are more."""


class Turns:
    """Serves each sender once, PIECES_A_TURN of them in a turn of the event loop; `call_soon` is the loop's."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon
        self._waiting: dict[Sender, None] = {}
        self._is_scheduled = False

    def join(self, sender: Sender) -> None:
        """Let `sender` take a turn after those that joined before."""
        self._waiting[sender] = None
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._call_soon(self._serve)

    def _serve(self) -> None:
        self._is_scheduled = False
        for sender in list(islice(self._waiting, PIECES_A_TURN)):
            del self._waiting[sender]
            self._call_soon(sender.take_turn)  # a call of its own: one that fails does not stop the others
        if self._waiting:
            self._schedule()
