"""What becomes of a probe, from two views of it: the kernel's and user space's. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from monlat_ebpf.abi.probes import Stamps
from monlat_ebpf.model import Address, Result
from monlat_ebpf.ping.user_space import Answer
from monlat_ebpf.probing.ledger import Outcome


@dataclass(frozen=True, slots=True)
class Ended:
    """How a probe ended. Times in nanoseconds, None where not known.

    `rtt_ns` and `send_delay_ns` are the kernel's. `user_rtt_ns` is from the start of sending until icmplib had the
    reply. `error` names the ICMP error or the errno, "" for none; `error_from` is the host that sent the ICMP error,
    where user space saw it.
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
    """A reply to a probe that had ended as lost; `rtt_ns` is the kernel's, None where it has no stamp."""

    sequence: int
    rtt_ns: int | None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One more reply to a probe that was answered."""

    sequence: int


Event = Ended | Late | Duplicate


@dataclass(slots=True)
class UserView:
    """What user space saw of a probe, kept for as long as the probe has its slot."""

    sequence: int
    rtt_ns: int | None = None
    error_from: Address | None = None
    result: Result | None = None  # the kernel's, once the probe has ended

    @property
    def is_answered(self) -> bool:
        """Whether user space has seen an answer."""
        return self.rtt_ns is not None or self.error_from is not None

    def add(self, answer: Answer, stamps: Stamps) -> Late | Duplicate | None:
        """Enter an answer, and return the event that it is by itself. `stamps` are the probe's."""
        if not answer.is_reply:
            self.error_from = self.error_from or answer.sender
            return None
        if self.rtt_ns is not None:
            return Duplicate(self.sequence)
        self.rtt_ns = answer.read_ns - stamps.sent_ns
        if self.result in (None, Result.REPLY):
            return None
        has_both = stamps.transmitted_ns and stamps.received_ns
        return Late(self.sequence, stamps.received_ns - stamps.transmitted_ns if has_both else None)

    def end(self, outcome: Outcome) -> Ended:
        """Join the kernel's view with that of user space."""
        self.result = outcome.result
        return Ended(
            sequence=outcome.sequence,
            result=outcome.result,
            rtt_ns=outcome.rtt_ns,
            send_delay_ns=outcome.send_delay_ns,
            user_rtt_ns=self.rtt_ns if outcome.result is Result.REPLY else None,
            error=outcome.error,
            error_from=self.error_from if outcome.error else None,
        )
