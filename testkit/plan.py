"""Which request meets which action, and what the reflector says that it did."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from monlat_ebpf.model import Address
from testkit.actions import Action, Answer
from testkit.emulated_peer import EmulatedPeer

PLAIN = Answer()
NO_RULE = -1


@dataclass(frozen=True, slots=True)
class Rule:
    """Treat every `every`-th request to an address with `action`, beginning with the `offset`-th (from 0).

    Requests are counted for each address by itself. With `address`, the rule holds for that one alone.
    """

    action: Action
    every: int = 1
    offset: int = 0
    address: Address | None = None

    def applies(self, address: bytes, number: int) -> bool:
        """Whether the rule holds for the request of that number to the packed address."""
        return number % self.every == self.offset and (self.address is None or self.address.packed == address)


@dataclass(frozen=True, slots=True)
class Plan:
    """Answer after `delay_ns`, except where a rule says otherwise; the first rule that applies wins.

    With `emulated_peer`, tell of each answer as a peer's agent does.
    """

    delay_ns: int = 0
    rules: tuple[Rule, ...] = ()
    emulated_peer: EmulatedPeer | None = None

    @classmethod
    def cycle(cls, actions: Sequence[Action], delay_ns: int = 0) -> Self:
        """Treat the requests to each address with these actions in turn, over and over."""
        return cls(delay_ns, tuple(Rule(action, len(actions), place) for place, action in enumerate(actions)))

    def rule_for(self, address: bytes, number: int) -> int:
        """Return the place in `rules` of the one that applies, or NO_RULE."""
        for place, rule in enumerate(self.rules):
            if rule.applies(address, number):
                return place
        return NO_RULE

    def action(self, place: int) -> Action:
        """Return the action of the rule at `place`; NO_RULE gives the plain answer."""
        return PLAIN if place == NO_RULE else self.rules[place].action


@dataclass(frozen=True, slots=True)
class Record:
    """The truth about one request, by the reflector's own clock: CLOCK_MONOTONIC, nanoseconds.

    `address` is the one that was asked. `nonce` and `sequence` are those of monlat's payload; another
    program's echo has nonce 0 and its ICMP sequence. `read_ns` is taken right after the request was read,
    `written_ns` right before each answer was written: none when dropped, two when doubled. `missing_ns` is the last
    time before `read_ns` at which the request was not there yet.
    """

    address: Address
    nonce: int
    sequence: int
    action: Action
    missing_ns: int
    read_ns: int
    written_ns: tuple[int, ...]

    @property
    def turnaround_ns(self) -> int:
        """The time between request and first answer. Raises IndexError when there was none."""
        return self.written_ns[0] - self.read_ns

    @property
    def unread_ns(self) -> int:
        """How long, at most, the request was there and not read.

        Long when the reflector was at work on something else or, though ready to run, had no core.
        """
        return self.read_ns - self.missing_ns


RECORD = struct.Struct("=16sQIiQQQQ")
"""A record as it crosses from the reflector's process: address (IPv4 as ::ffff:a.b.c.d), nonce, sequence,
rule, missing, read, first and second written (0: never)."""
