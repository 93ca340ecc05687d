"""What a path is built on, and what it has to say about itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from monlat_ebpf.model import Peer, Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit.filler import Filler
from testkit.links import Links
from testkit.paths.answerer import Answerer

NEAR, FAR = 1, 2


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a namespace."""

    namespace: Namespace
    name: str


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of a path that was built.

    At `sent` the agent's kernel is expected to take t1, at `received` t4, and `far` is the peer's own device. Each is
    None where no packet socket can see the packets as they are, or the peer is `answerer`.
    """

    peer: Peer
    sent: Device | None = None
    received: Device | None = None
    far: Device | None = None
    answerer: Answerer | None = None


@dataclass(frozen=True, slots=True)
class Path:
    """A path and what is known about it beforehand.

    `results` is the result of its probes by family, for IPv4 and IPv6 alike where it holds one entry. A reply is
    stamped by a driver or, with `by_stack` (families), by the stack. `contains` is what the RTT holds beyond the
    network and the peer's kernel, or why the result is not the cause. `without_rtt` are families.
    """

    name: str
    build: Callable[[Ground], Ends]
    results: Mapping[int, Result]
    by_stack: tuple[int, ...] = ()
    without_rtt: tuple[int, ...] = ()
    contains: str = ""


ALL: Final[list[Path]] = []
"""Those that a kernel without modules has, in the order of the table."""

OF_MODULES: Final[list[Path]] = []
"""Those that need a module of a distribution's kernel."""

DEAD: Final[list[Path]] = []
"""Those whose ICMP errors come after the probes have ended, and match none of them."""


def path(
    name: str,
    *results: Result,
    by_stack: tuple[int, ...] = (),
    without_rtt: tuple[int, ...] = (),
    contains: str = "",
    among: list[Path] = ALL,
) -> Callable[[Callable[[Ground], Ends]], Callable[[Ground], Ends]]:
    """Enter a builder among the paths. `results` are for IPv4 and IPv6, for both if there is one; none is a reply."""

    def enter(build: Callable[[Ground], Ends]) -> Callable[[Ground], Ends]:
        ipv4, ipv6 = (*results, *results)[:2] if results else (Result.REPLY, Result.REPLY)
        among.append(Path(name, build, {4: ipv4, 6: ipv6}, by_stack, without_rtt, contains))
        return build

    return enter


@dataclass
class Ground:
    """Names and addresses that no other path has, in the agent's namespace and in those of this path alone."""

    near: Namespace
    number: int
    name: str
    stack: ExitStack
    _unusable: list[tuple[Device, Sequence[str]]] = field(default_factory=list)

    def namespace(self, name: str) -> Namespace:
        """Return a new namespace, which ends with the path."""
        return self.stack.enter_context(Namespace(f"{name} of {self.name}"))

    def device(self, kind: str) -> str:
        """Return the name of a device of this path."""
        return f"{kind}{self.number}"

    def ipv4(self, host: int) -> str:
        return f"10.78.{self.number}.{host}"

    def ipv6(self, host: int) -> str:
        return f"fd78:0:0:{self.number:x}::{host}"

    def addresses(self, host: int) -> tuple[str, str]:
        return self.ipv4(host), self.ipv6(host)

    def mac(self, host: int) -> str:
        return f"02:00:00:78:{self.number:02x}:{host:02x}"

    @property
    def peer(self) -> Peer:
        return Peer(self.name, tuple(map(ip_address, self.addresses(FAR))))

    def wire(self, one: Namespace, other: Namespace, kind: str = "wire", known: Sequence[int] = (NEAR, FAR)) -> str:
        """Join two namespaces by a veth pair and return its name, which is that of both its ends.

        Those of `known` have the hardware address of the near or far end: all but the ports of bridges.
        """
        name = self.device(kind)
        near, far = (f"address {self.mac(end)}" if end in known else "" for end in (NEAR, FAR))
        ip(one, f"link add {name} {near} type veth peer name {name} {far} netns {other.path}", f"link set {name} up")
        ip(other, f"link set {name} up")
        self.expect(one, name)
        return name

    def configure(self, namespace: Namespace, device: str, host: int, *, static_arp: bool = True) -> None:
        """Give `device` the addresses of near or far end, and tell it the hardware address of the other one."""
        lines = [f"link set {device} up", f"address add {self.ipv4(host)}/24 dev {device}"]
        lines += [f"address add {self.ipv6(host)}/64 dev {device} nodad"]
        ip(namespace, *lines)
        self.expect(namespace, device, *self.addresses(host))
        if static_arp:
            self.know(namespace, device, NEAR + FAR - host)

    def know(self, namespace: Namespace, device: str, host: int) -> None:
        """Tell `device` the hardware address of a host, so that it sends no requests for it."""
        ip(namespace, *(
            f"neighbour replace {address} lladdr {self.mac(host)} dev {device} nud permanent"
            for address in self.addresses(host)
        ))  # fmt: skip

    def slow(self, namespace: Namespace, device: str) -> None:
        """Let every packet that `device` sends wait in a queue for 5 to 12 ms."""
        self.stack.enter_context(Filler(namespace, device))

    def expect(self, namespace: Namespace, device: str, *addresses: str) -> None:
        """Let `wait` wait until `device` works."""
        self._unusable.append((Device(namespace, device), addresses))

    def wait(self) -> None:
        """Wait until the kernel has set up all devices that this path needs."""
        for device, addresses in self._unusable:
            with Links(device.namespace) as links:
                links.wait_until_usable(device.name, addresses)


def ip(namespace: Namespace, *lines: str) -> None:
    """Run commands of ip(8) by one process: an emulated processor needs a third of a second to start one."""
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        run(namespace, "ip", "-batch", file.name)


def run(namespace: Namespace, *command: str) -> None:
    """Run a command that must succeed."""
    done = namespace.run(command)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
