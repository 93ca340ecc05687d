"""Compares passwords with their bcrypt hashes, in a thread of its own: each takes 50 ms of CPU or more.

A password that was right is remembered, so a scraper pays once. The thread rests after a wrong one for four times as
long as the comparison took: guessing takes at most a fifth of a core from the prober.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from enum import Enum, auto
from http import HTTPStatus
from queue import SimpleQueue
from time import monotonic
from typing import Final, NamedTuple

from monlat_ebpf.exposition.messages import Response

_MOST_PENDING: Final = 16  # at a cost of 10 and with the rests, some 6 s of work
_MOST_REMEMBERED: Final = 100
_REST: Final = 4  # times the duration of the comparison
_LONGEST_PASSWORD: Final = 72  # bytes; bcrypt uses no more, and neither does htpasswd


class Answer(Enum):
    """What is known of credentials at once."""

    RIGHT = auto()
    WRONG = auto()
    PENDING = auto()
    """They are compared, and the result follows."""
    BUSY = auto()
    """This client has another password compared, or too many others have."""


REFUSALS: Final = {
    Answer.WRONG: Response(
        b"user and password are needed here\n",
        status=HTTPStatus.UNAUTHORIZED,
        headers={"WWW-Authenticate": 'Basic realm="monlat", charset="UTF-8"'},
    ),
    Answer.BUSY: Response(
        b"other passwords are being compared; ask again\n",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        headers={"Retry-After": "1"},
    ),
}


class _Comparison(NamedTuple):
    key: bytes
    client: str
    password: bytes
    hashed: bytes
    is_known: bool


Result = Callable[[bool], None]


class Passwords:
    """Checks credentials. Every method but the thread's own is called in the event loop."""

    def __init__(self, call_in_loop: Callable[..., object]) -> None:
        self._call_in_loop = call_in_loop
        self._secret = secrets.token_bytes(32)
        self._remembered: dict[bytes, None] = {}
        self._pending: dict[bytes, list[Result]] = {}
        self._clients: set[str] = set()
        self._queue: SimpleQueue[_Comparison | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def check(self, authorization: str, users: Mapping[str, bytes], client: str, result: Result) -> Answer:
        """Check the header Authorization of the host `client`. After PENDING, `result` is called in the event loop."""
        credentials = parse_basic(authorization)
        if credentials is None:
            return Answer.WRONG
        user, password = credentials
        is_known = user in users
        # An unknown user costs what a known one costs: the password is compared with another user's hash.
        hashed = users[user] if is_known else self._other_hash(user, users)
        key = self._digest(user.encode(), hashed, password)
        if key in self._remembered:
            return Answer.RIGHT
        if key in self._pending:
            self._pending[key].append(result)
            return Answer.PENDING
        if client in self._clients or len(self._pending) >= _MOST_PENDING:
            return Answer.BUSY
        self._clients.add(client)
        self._pending[key] = [result]
        self._queue.put(_Comparison(key, client, password, hashed, is_known))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="http-passwords", daemon=True)
            self._thread.start()
        return Answer.PENDING

    def close(self) -> None:
        """Make the thread end after the comparison that it makes."""
        self._stopping.set()
        self._queue.put(None)

    def _other_hash(self, user: str, users: Mapping[str, bytes]) -> bytes:
        hashes = list(users.values())
        return hashes[int.from_bytes(self._digest(user.encode()), "little") % len(hashes)]

    def _digest(self, *parts: bytes) -> bytes:
        """Return a key that says nothing about `parts` to who does not know the secret."""
        digest = hashlib.blake2b(key=self._secret, digest_size=32)
        for part in parts:
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.digest()

    def _work(self) -> None:
        while (comparison := self._queue.get()) and not self._stopping.is_set():
            began = monotonic()
            is_right = _is_right(comparison.password, comparison.hashed) and comparison.is_known
            took = monotonic() - began
            try:
                self._call_in_loop(self._end, comparison, is_right)
            except RuntimeError:  # the loop is closed: nobody waits
                return
            if not is_right:
                self._stopping.wait(_REST * took)

    def _end(self, comparison: _Comparison, is_right: bool) -> None:
        self._clients.discard(comparison.client)
        if is_right:
            self._remembered[comparison.key] = None
            if len(self._remembered) > _MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        for result in self._pending.pop(comparison.key, []):
            result(is_right)


def parse_basic(authorization: str) -> tuple[str, bytes] | None:
    """Return user and password of a header Authorization (RFC 7617); None if it has none."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


def _is_right(password: bytes, hashed: bytes) -> bool:
    import bcrypt  # here: only an agent with users needs it

    try:
        return bcrypt.checkpw(password[:_LONGEST_PASSWORD], hashed)
    except ValueError:
        return False
