"""Comparing passwords: what is remembered, who waits, and what guessing costs."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from typing import Any

import bcrypt
import pytest

from monlat_ebpf.exposition import passwords
from monlat_ebpf.exposition.passwords import Answer, Passwords, parse_basic
from testkit.waiting import wait_until

USERS = {"alice": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)), "bob": bcrypt.hashpw(b"other", bcrypt.gensalt(4))}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Comparer:
    """Stands for bcrypt: counts comparisons, and holds each until it may go on."""

    def __init__(self) -> None:
        self.compared: list[tuple[bytes, bytes]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        self.compared.append((password, hashed))
        self.go_on.wait()
        return bcrypt.checkpw(password, hashed)


@pytest.fixture
def comparer(monkeypatch: pytest.MonkeyPatch) -> Comparer:
    comparer = Comparer()
    monkeypatch.setattr(passwords, "_is_right", comparer)
    return comparer


@pytest.fixture
def checker(comparer: Comparer) -> Iterator[Passwords]:
    checker = Passwords(lambda call, *arguments: call(*arguments))
    yield checker
    comparer.go_on.set()
    checker.close()
    if checker._thread is not None:
        checker._thread.join()


def outcome(checker: Passwords, user: str, password: str, client: str = "::1") -> Any:
    results: list[bool] = []
    answer = checker.check(basic(user, password), USERS, client, results.append)
    if answer is not Answer.PENDING:
        return answer
    wait_until(lambda: bool(results))
    return results[0]


def test_right_password_is_compared_once(checker: Passwords, comparer: Comparer) -> None:
    """After that, it is known at once, from every client."""
    assert outcome(checker, "alice", "secret") is True
    assert outcome(checker, "alice", "secret", "::2") is Answer.RIGHT
    assert len(comparer.compared) == 1


def test_remembered_password_is_worth_nothing_for_another_hash(checker: Passwords) -> None:
    """A changed password ends the old one at once."""
    assert outcome(checker, "alice", "secret") is True
    changed = {"alice": bcrypt.hashpw(b"new", bcrypt.gensalt(4))}
    results: list[bool] = []
    assert checker.check(basic("alice", "secret"), changed, "::1", results.append) is Answer.PENDING
    wait_until(lambda: results == [False])


def test_unknown_user_is_compared_as_a_known_one(checker: Passwords, comparer: Comparer) -> None:
    """With the hash of a user, always the same: so its cost tells nothing. Another user's password does not help."""
    for password in ("secret", "other", "secret"):
        assert outcome(checker, "mallory", password) is False
    assert len(comparer.compared) == 3
    assert len({hashed for _, hashed in comparer.compared} & set(USERS.values())) == 1


def test_one_client_waits_for_one_comparison(checker: Passwords, comparer: Comparer) -> None:
    """Another client of the same host is told to ask again, one with the same password shares the result."""
    comparer.go_on.clear()
    results: list[bool] = []

    def ask(password: str, client: str) -> Answer:
        return checker.check(basic("alice", password), USERS, client, results.append)

    assert ask("secret", "::1") is Answer.PENDING
    assert ask("guess", "::1") is Answer.BUSY
    assert ask("secret", "::1") is Answer.PENDING
    assert ask("guess", "::2") is Answer.PENDING
    comparer.go_on.set()
    wait_until(lambda: results == [True, True, False])
    assert len(comparer.compared) == 2


def test_at_most_16_comparisons_wait(checker: Passwords, comparer: Comparer) -> None:
    """However many hosts guess."""
    comparer.go_on.clear()
    answers = [checker.check(basic("alice", f"guess{n}"), USERS, f"::{n}", lambda _: None) for n in range(23)]
    assert answers == [Answer.PENDING] * 16 + [Answer.BUSY] * 7


def test_thread_rests_after_a_wrong_password(
    checker: Passwords, comparer: Comparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times as long as the comparison took; after a right one it does not."""
    rests: list[float] = []
    clock = iter([0.0, 0.1, 10.0, 10.1])
    monkeypatch.setattr("monlat_ebpf.exposition.passwords.monotonic", lambda: next(clock))
    monkeypatch.setattr(checker._stopping, "wait", rests.append)
    results: list[bool] = []
    checker.check(basic("alice", "secret"), USERS, "::1", results.append)
    checker.check(basic("alice", "guess"), USERS, "::2", results.append)
    checker._queue.put(None)
    assert checker._thread is not None
    checker._thread.join()
    assert results == [True, False]
    assert rests == [pytest.approx(4 * 0.1)]


@pytest.mark.parametrize(
    ("header", "credentials"),
    [
        ("Basic YWxpY2U6c2U6Y3JldA==", ("alice", b"se:cret")),
        ("basic  YWxpY2U6", ("alice", b"")),
        ("Basic YWxpY2U=", None),
        ("Basic YWxpY2U6c2U6Y3JldA", None),
        ("Basic Y\u00e9", None),
        ("Basic /zo=", None),
        ("Bearer YWxpY2U6", None),
        ("", None),
    ],
)
def test_header_is_parsed(header: str, credentials: tuple[str, bytes] | None) -> None:
    """RFC 7617: a colon ends the user, not the password. `YWxpY2U6` is `alice:`."""
    assert parse_basic(header) == credentials
