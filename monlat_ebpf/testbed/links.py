"""Links and addresses of a namespace. With host/addresses.py the only importer of pyroute2."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_interface
from types import TracebackType
from typing import Any, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.namespace import Namespace

IFA_F_NODAD = 0x02  # linux/if_addr.h
RTN_LOCAL = 2  # linux/rtnetlink.h


class Links:
    """A netlink connection into one namespace. A context manager, for use by one thread.

    Every method raises TestbedError with the kernel's reason.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def __enter__(self) -> Self:
        # pyroute2 opens a socket per thread, in the namespace that the thread is in at that moment.
        with self._namespace.entered():
            self._netlink = IPRoute()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._netlink.close()

    def add_veth(self, name: str, peer: Namespace, peer_name: str, mtu: int = 1500) -> None:
        """Create a veth pair: `name` in this namespace, `peer_name` in `peer`, both down."""
        far = {"ifname": peer_name, "net_ns_fd": peer.descriptor, "mtu": mtu}
        self._ask(f"add veth {name}", "link", "add", ifname=name, kind="veth", mtu=mtu, peer=far)

    def add_bridge(self, name: str) -> None:
        """Create a bridge, down. It floods multicast, because without a querier snooping would drop some."""
        self._ask(f"add bridge {name}", "link", "add", ifname=name, kind="bridge", br_mcast_snooping=0)

    def set_up(self, name: str, up: bool = True) -> None:
        """Set a link up or down."""
        state = "up" if up else "down"
        self._ask(f"set {name} {state}", "link", "set", index=self.index(name), state=state)

    def set_mtu(self, name: str, mtu: int) -> None:
        """Set the MTU of a link: bytes per packet, without the Ethernet header."""
        self._ask(f"set the MTU of {name}", "link", "set", index=self.index(name), mtu=mtu)

    def set_master(self, name: str, master: str) -> None:
        """Add a link to a bridge or a bond."""
        index, master_index = self.index(name), self.index(master)
        self._ask(f"put {name} into {master}", "link", "set", index=index, master=master_index)

    def add_address(self, name: str, interface: str) -> None:
        """Add an address such as "10.77.0.1/24" to a link. It is usable at once."""
        self._address("add", name, interface)

    def _address(self, command: str, name: str, interface: str) -> None:
        parsed = ip_interface(interface)
        flags = {"flags": IFA_F_NODAD} if parsed.version == 6 and command == "add" else {}
        what = f"{command} address {interface} on {name}"
        address, length = str(parsed.ip), parsed.network.prefixlen
        self._ask(what, "addr", command, index=self.index(name), address=address, prefixlen=length, **flags)

    def wait_until_usable(self, name: str, addresses: Sequence[str] = (), timeout: float = 10) -> None:
        """Wait until a link carries packets and `addresses` (without prefix length) are local.

        The kernel does both in work queues, a moment after the command, and drops packets until then. Raises
        TestbedError after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not (self._is_running(name) and all(self._is_local(address) for address in addresses)):
            if time.monotonic() > deadline:
                raise TestbedError(f"{name} in namespace {self._namespace.name} has no carrier: is the other end up?")
            time.sleep(0.001)

    def _is_running(self, name: str) -> bool:
        state = self._ask(f"find {name}", "link", "get", ifname=name)[0].get_attr("IFLA_OPERSTATE")
        return state in ("UP", "UNKNOWN")  # loopback, TUN and TAP have no carrier state

    def _is_local(self, address: str) -> bool:
        route = self._ask(f"look up {address}", "route", "get", dst=address)[0]
        return bool(route["type"] == RTN_LOCAL)

    def index(self, name: str) -> int:
        """Return the interface index of a link."""
        found = self._ask(f"find {name}", "link", "get", ifname=name)
        return int(found[0]["index"])

    def _ask(self, what: str, method: str, *arguments: Any, **options: Any) -> Any:
        call: Callable[..., Any] = getattr(self._netlink, method)
        try:
            return call(*arguments, **options)
        except NetlinkError as error:
            raise self._refused(what, error.code) from error
        except OSError as error:
            raise self._refused(what, error.errno or 0) from error

    def _refused(self, what: str, number: int) -> TestbedError:
        return TestbedError(f"cannot {what} in namespace {self._namespace.name}: {os.strerror(number)}")
