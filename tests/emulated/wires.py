"""Wires with a known fault: two nodes on a bridge whose ports disturb every echo by netem and count what they did.

A node's own queueing discipline is not part of an RTT. So the disturbance is in the network: on the bridge's ports, in
another namespace. Only echoes pass through netem, and neighbour entries are static. So its counters are of probes and
replies alone.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from monlat_ebpf.model import Peer
from monlat_ebpf.testbed.namespace import Namespace
from testkit.links import Links


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What netem does to requests and to replies, as arguments of tc-netem(8); "" for nothing."""

    name: str
    forward: str = ""
    back: str = ""
    far_end: str = ""  # on the peer's own device, not in the network


@dataclass(frozen=True, slots=True)
class Counters:
    """Packets that a netem passed on (copies included), dropped, and let overtake others."""

    passed: int
    dropped: int
    overtaken: int


class Wires:
    """A near namespace with a wire for each disturbance and a far namespace at the other end; a context manager."""

    def __init__(self, disturbances: Sequence[Disturbance]) -> None:
        self._disturbances = disturbances
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self.near = self._stack.enter_context(Namespace("near"))
            self.switch = self._stack.enter_context(Namespace("switch"))
            self.far = {each.name: self._stack.enter_context(Namespace(each.name)) for each in self._disturbances}
            for number, each in enumerate(self._disturbances):
                self._build(number, self.far[each.name])
                self._disturb(number, each)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stack.close()

    def _build(self, number: int, far: Namespace) -> None:
        bridge, ports = f"bridge{number}", (f"near{number}", f"far{number}")
        ends = ((self.near, f"wire{number}", 1), (far, "wire", 2))
        with Links(self.switch) as switch:
            switch.add_bridge(bridge)
            switch.set_up(bridge)
            for port, (namespace, name, _) in zip(ports, ends, strict=True):
                switch.add_veth(port, namespace, name)
                switch.set_master(port, bridge)
                switch.set_up(port)
        for namespace, name, host in ends:
            other = 3 - host
            script = [
                f"link set {name} address 02:00:00:00:{number:02x}:{host:02x} up",
                f"address add 10.79.{number}.{host}/24 dev {name}",
                f"address add fd79:{number}::{host}/64 dev {name} nodad",
                *(
                    f"neighbour replace {address} lladdr 02:00:00:00:{number:02x}:{other:02x} dev {name} nud permanent"
                    for address in (f"10.79.{number}.{other}", f"fd79:{number}::{other}")
                ),
            ]
            _batch(namespace, "ip", script)
            with Links(namespace) as links:
                links.wait_until_usable(name, (f"10.79.{number}.{host}", f"fd79:{number}::{host}"))
        with Links(self.switch) as switch:
            for port in ports:
                switch.wait_until_usable(port)

    def _disturb(self, number: int, each: Disturbance) -> None:
        queues = (
            (self.switch, f"far{number}", each.forward),
            (self.switch, f"near{number}", each.back),
            (self.far[each.name], "wire", each.far_end),
        )
        for namespace, device, netem in queues:
            if netem:
                _batch(namespace, "tc", _echoes_through(device, netem))

    def peers(self) -> list[Peer]:
        """Return the far ends, with the names of their disturbances."""
        return [
            Peer(each.name, (ip_address(f"10.79.{number}.2"), ip_address(f"fd79:{number}::2")))
            for number, each in enumerate(self._disturbances)
        ]

    def near_end(self, name: str) -> Peer:
        """Return the near end of one wire, as its far end sees it."""
        number = [each.name for each in self._disturbances].index(name)
        return Peer("near", (ip_address(f"10.79.{number}.1"), ip_address(f"fd79:{number}::1")))

    def counters(self, name: str) -> tuple[Counters, Counters]:
        """Return the counters of the two netems of a wire, for requests and for replies."""
        number = [each.name for each in self._disturbances].index(name)
        return self._count(f"far{number}"), self._count(f"near{number}")

    def _count(self, port: str) -> Counters:
        said = self.switch.run(["tc", "-statistics", "-json", "qdisc", "show", "dev", port])
        netem = next(each for each in json.loads(said.stdout) if each["kind"] == "netem")
        return Counters(netem["packets"], netem["drops"], netem["requeues"])


def _echoes_through(device: str, netem: str) -> list[str]:
    """Return tc commands that send ICMP through netem, and all other packets past it, MLD among them."""
    return [
        f"qdisc add dev {device} root handle 1: prio bands 4 priomap {'0 ' * 16}",
        f"qdisc add dev {device} parent 1:4 handle 40: netem {netem}",
        f"filter add dev {device} parent 1: protocol ip prio 1 u32 match ip protocol 1 0xff flowid 1:4",
        f"filter add dev {device} parent 1: protocol ipv6 prio 2 u32 match ip6 protocol 58 0xff flowid 1:4",
    ]


def _batch(namespace: Namespace, program: str, lines: Sequence[str]) -> None:
    """Run commands of `ip` or `tc` by one process: under emulation each takes a third of a second to start."""
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        ran = namespace.run([program, "-batch", file.name])
    assert ran.returncode == 0, f"{program}: {ran.stderr}"
