"""Damaged input for parsers: repeatable, from a seeded source of chance."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any, Final

_DEEP: Final = "deeply nested"
ODD_VALUES: Final[Sequence[Any]] = (
    *(None, True, 0, -1, 1e308, 10**4000, "", " ", "x" * 5000, "\0", "\ud800", "\u202e", "é"),
    *([], {}, [[]], [None], {"a": {}}, _DEEP),
    *("255.255.255.255", "0.0.0.0", "127.0.0.1", "224.0.0.1", "010.0.0.1", "1.2.3.4/8", "::", "fe80::1%eth0"),
    *("::1.2.3.4", "::ffff:10.0.0.2", "9" * 30, "-1", "true"),
)
"""What may stand where JSON has another value."""


def damaged(text: bytes, chance: Random, junk: Sequence[bytes] = ()) -> bytes:
    """Return `text` with up to four bytes replaced, removed or repeated, or with `junk` between them."""
    for _ in range(chance.randint(0, 4)):
        start = chance.randrange(len(text) + 1)
        more = (b"", b"\r\n", b"\0", b":", b" ", chance.randbytes(3), text[: chance.randrange(40)], *junk)
        text = text[:start] + chance.choice(more) + text[start + chance.choice((0, 1, 9)) :]
    return text


def damaged_json(value: Any, chance: Random) -> bytes:
    """Return JSON of `value` with up to three of its parts replaced, removed or repeated."""
    value = copy.deepcopy(value)
    for _ in range(chance.randint(0, 3)):
        containers = _containers(value)
        if not containers:
            break
        container = chance.choice(containers)
        if isinstance(container, dict):
            key = chance.choice(list(container))
            match chance.randrange(3):
                case 0:
                    del container[key]
                case 1:
                    container[key] = copy.deepcopy(chance.choice(ODD_VALUES))
                case _:
                    container[key] = copy.deepcopy(container[chance.choice(list(container))])
        else:
            index = chance.randrange(len(container))
            match chance.randrange(3):
                case 0:
                    del container[index]
                case 1:
                    container[index] = copy.deepcopy(chance.choice(ODD_VALUES))
                case _:
                    container.append(copy.deepcopy(container[index]))
    return json.dumps(value).encode().replace(f'"{_DEEP}"'.encode(), b"[" * 9999 + b"]" * 9999)


def _containers(value: Any) -> list[Any]:
    """Return the lists and mappings in `value`, itself included, that are not empty."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] * bool(children) + [found for child in children for found in _containers(child)]
