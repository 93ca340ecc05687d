"""The random nonces of probes, made many at a time."""

from __future__ import annotations

import os
import secrets
from typing import Final

from monlat_ebpf.abi import layout

_BATCH: Final = 64  # a system call for each nonce would take as long as the rest of its probe's preparation
_NONCE_BYTES: Final = 8
_POSITION_MASK: Final = layout.PROBES_PER_TARGET - 1
_HIGH_BITS: Final = 2 ** (8 * _NONCE_BYTES) - layout.PROBES_PER_TARGET


class Nonces:
    """Makes nonces: 64 bits that nobody can guess, but for the lowest ones."""

    def __init__(self) -> None:
        self._random: list[int] = []

    def next(self, sequence: int) -> int:
        """Return a nonce, never 0, whose lowest bits are those of `sequence`: the probe's position."""
        if not self._random:
            self._random = list(memoryview(os.urandom(_BATCH * _NONCE_BYTES)).cast("Q"))
        return self._random.pop() & _HIGH_BITS | sequence & _POSITION_MASK or layout.PROBES_PER_TARGET


def new_stream() -> int:
    """Return a random id, never 0, for the requests to one target."""
    return secrets.randbelow((1 << 8 * _NONCE_BYTES) - 1) + 1
