"""What becomes of a probe, from two views of it: pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from monlat_ebpf.abi.echo import error_name
from monlat_ebpf.abi.probes import Completion
from monlat_ebpf.model import Address, Family, Result
from monlat_ebpf.ping.user_space import Answer
from monlat_ebpf.probing.ledger import InFlight, Outcome

_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Ended:
    """How a probe ended. Times in nanoseconds, None where not known.

    `rtt_ns` and `send_delay_ns` are the kernel's, `user_rtt_ns` is what icmplib saw. `error` names the ICMP
    error or the errno, "" for none; `error_from` is the host that sent the ICMP error, where user space saw it.
    """

    sequence: int
    result: Result
    rtt_ns: int | None = None
    send_delay_ns: int | None = None
    user_rtt_ns: int | None = None
    error: str = ""
    error_from: Address | None = None


@dataclass(frozen=True, slots=True)
class Late:
    """A reply to a probe that had ended as lost; `rtt_ns` is the kernel's, None when its place was in use again."""

    sequence: int
    rtt_ns: int | None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One more reply to a probe that was answered."""

    sequence: int


Event = Ended | Late | Duplicate


@dataclass(slots=True)
class Pending:
    """A probe that was sent, for as long as an answer to it can be told. `sent_time` is the wall clock's, seconds."""

    slot: int
    probe: InFlight
    sent_time: float
    reply: Answer | None = None
    error: Answer | None = None
    result: Result | None = field(default=None)

    def note(self, answer: Answer) -> Duplicate | None:
        """Take in an answer that user space read; return what it is when it says nothing new of an open probe."""
        if not answer.is_reply:
            self.error = self.error or answer
        elif self.reply is not None:
            return Duplicate(self.probe.sequence)
        else:
            self.reply = answer
        return None

    @property
    def is_answered(self) -> bool:
        """Whether user space has seen an answer."""
        return self.reply is not None or self.error is not None

    def ended(self, outcome: Outcome, family: Family) -> Ended:
        """Join the kernel's view with that of user space."""
        self.result = outcome.result
        reply = self.reply if outcome.result is Result.REPLY else None
        error = self.error if outcome.error else None
        return Ended(
            sequence=outcome.sequence,
            result=outcome.result,
            rtt_ns=outcome.rtt_ns,
            send_delay_ns=outcome.send_delay_ns,
            user_rtt_ns=round((reply.time - self.sent_time) * _NANOSECONDS) if reply else None,
            error=error_name(family, *outcome.error) if outcome.error else "",
            error_from=error.sender if error else None,
        )

    def after_its_end(self, answer: Answer, completion: Completion | None) -> Event | None:
        """Say what an answer is that came when the probe had ended.

        `completion` is what its place in the table holds, None when another probe is there now.
        """
        if not answer.is_reply:
            return None
        first, self.reply = self.reply is None, self.reply or answer
        if self.result is not Result.REPLY and first:
            times = (completion.transmitted_ns, completion.received_ns) if completion else (0, 0)
            return Late(self.probe.sequence, times[1] - times[0] if all(times) else None)
        return None if first else Duplicate(self.probe.sequence)
