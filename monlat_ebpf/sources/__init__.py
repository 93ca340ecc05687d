"""Where the time stamps of a probe come from: one protocol, and a package for each way to get them.

Every source fills the same table (`monlat_ebpf.abi.probes`). The sender of a probe writes it there first, then the
source completes it with t1 and t4. Readers of the table need not know which source it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from monlat_ebpf.abi.probes import ProbeTable
from monlat_ebpf.abi.sessions import Sessions
from monlat_ebpf.host.interfaces import SocketAddress, socket_address
from monlat_ebpf.host.next_hops import NextHopState
from monlat_ebpf.model import Address, Family


@dataclass(frozen=True, slots=True)
class Sending:
    """How echo requests leave.

    `dscp` is their differentiated services code point (RFC 2474), 0 to 63. `addresses` has at most one of a family:
    requests of that family leave from it or fail. Other families leave from the addresses of `Source.use_sources`.
    """

    dscp: int = 0
    addresses: tuple[Address, ...] = ()


AS_USUAL: Final = Sending()


class SourceChoice(StrEnum):
    """Who stamps the packets; `auto` takes the first source that this machine allows."""

    AUTO = "auto"
    TRACEPOINT = "tracepoint"
    SOCKET = "socket"


def do_nothing() -> int:
    """Be the `start` of a packet whose time of sending does not matter."""
    return 0


class Destination:
    """Where packets go: an address, and how a socket takes it."""

    __slots__ = ("address", "family", "fixed")

    def __init__(self, address: Address) -> None:
        self.address: Final = address
        self.family: Final = Family.of(address)
        self.fixed: Final = None if getattr(address, "scope_id", None) else socket_address(address)
        """`socket_address`, if that never changes."""

    @property
    def socket_address(self) -> SocketAddress:
        """Return the address for `sendto`.

        That of a link-local address has the index of an interface, which may go and come back with another one.
        Raises OSError if there is no such interface now.
        """
        return self.fixed or socket_address(self.address)


class Packet(NamedTuple):
    """An echo request that is ready to leave: an ICMP message without IP header, and the slot of its probe.

    `answering` says that the last probe to that address was answered: others use a socket of their own.
    """

    slot: int
    message: bytes
    to: Destination
    answering: bool


class Source(Protocol):
    """Sends echo requests, and stamps them and their replies."""

    name: str
    table: ProbeTable
    identifier: int
    """Of the echo requests that this source sends: random, so that two processes of one host differ."""

    @property
    def sessions(self) -> Sessions | None:
        """What the agents of the peers report; None if the source does not see the requests of peers."""

    def reserve(self, targets: int) -> None:
        """Make the memory of the targets below `targets` usable; that of others must not be touched."""

    def send(
        self,
        packet: bytes,
        to: Destination,
        start: Callable[[], int] = do_nothing,
        *,
        answering: bool = True,
        rehearse: bool = True,
    ) -> int:
        """Send `packet`, an ICMP message without IP header, and never wait. Return what `start` returned last.

        `start` is called immediately before the system call, and may be called before that as well. `answering` says
        that the last probe to that address was answered: others use a socket of their own. `rehearse` says that no
        packet was sent just before, so that the caches have to be filled first. Raises OSError as the system call
        does: NextHopUnresolved if the buffer is full of packets that wait, and nobody has this next hop's address;
        SendBufferFull if it is full otherwise.
        """

    def send_batch(self, packets: Sequence[Packet], start: Callable[[int], int]) -> list[int | OSError]:
        """Send packets one after another as `send` does; return for each what `start` returned, or the error.

        `start` gets the packet's slot immediately before the system call. It may be called before that as well.
        """

    def next_hop_state(self, address: Address) -> NextHopState:
        """Return what the kernel knows of the next hop to `address`."""

    def use_sources(self, addresses: Sequence[Address]) -> frozenset[Family]:
        """Send from these addresses of this node, at most one of a family, as long as they are this host's.

        Return the families whose packets leave from them. A family that `Sending.addresses` names is not changed.
        Called about once a second.
        """

    def errors(self) -> Mapping[str, int]:
        """Return how often something went wrong, by reason."""

    def close(self) -> None:
        """Free everything."""
