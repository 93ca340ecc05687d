"""Which request gets which action, and the record of it."""

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
    """Use `action` for every `every`-th request to an address, beginning with the `offset`-th (from 0).

    Requests are counted per address. With `address`, the rule is for that address alone.
    """

    action: Action
    every: int = 1
    offset: int = 0
    address: Address | None = None

    def applies(self, address: bytes, number: int) -> bool:
        """Whether the rule is for the request with that number to the packed address."""
        return number % self.every == self.offset and (self.address is None or self.address.packed == address)


@dataclass(frozen=True, slots=True)
class Plan:
    """Answer after `delay_ns`, unless a rule says otherwise; the first rule that applies wins.

    With `emulated_peer`, send feedback on each answer as a peer's agent does.
    """

    delay_ns: int = 0
    rules: tuple[Rule, ...] = ()
    emulated_peer: EmulatedPeer | None = None

    @classmethod
    def cycle(cls, actions: Sequence[Action], delay_ns: int = 0) -> Self:
        """Use these actions in turn for the requests to each address."""
        return cls(delay_ns, tuple(Rule(action, len(actions), offset) for offset, action in enumerate(actions)))

    def rule_for(self, address: bytes, number: int) -> int:
        """Return the index in `rules` of the rule that applies, or NO_RULE."""
        for index, rule in enumerate(self.rules):
            if rule.applies(address, number):
                return index
        return NO_RULE

    def action(self, index: int) -> Action:
        """Return the action of the rule at `index`; NO_RULE gives the plain answer."""
        return PLAIN if index == NO_RULE else self.rules[index].action


@dataclass(frozen=True, slots=True)
class Record:
    """When one request was read and answered, by the reflector's own clock: CLOCK_MONOTONIC, nanoseconds.

    `address` is the requested one. `nonce` and `sequence` are those of monlat's payload; another program's echo has
    nonce 0 and its ICMP sequence. `read_ns` is taken right after the request was read, `written_ns` right before each
    answer was written: none when dropped, two when doubled. At `missing_ns` the reflector looked for the last time
    without finding the request.
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
        """The time between request and first answer. Raises IndexError when there is no answer."""
        return self.written_ns[0] - self.read_ns

    @property
    def unread_ns(self) -> int:
        """How long, at most, the request waited to be read.

        It is long when the reflector was busy with another request, or was ready to run and had no core.
        """
        return self.read_ns - self.missing_ns


RECORD = struct.Struct("=16sQIiQQQQ")
"""A record as it crosses from the reflector's process: address (IPv4 as ::ffff:a.b.c.d), nonce, sequence,
rule, missing, read, first and second written (0: never)."""
