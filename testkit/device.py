"""A TUN or TAP device: a network interface with a file descriptor in place of a wire."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable
from ipaddress import ip_interface
from types import TracebackType
from typing import Literal, Self

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.namespace import Namespace
from testkit.framing import MAC, Framing
from testkit.links import Links
from testkit.packets import parse_echo_request, reply_to

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_KIND = {"tun": 0x0001, "tap": 0x0002}
IFF_NAPI_AND_FRAGS = 0x0010 | 0x0020
IFF_VNET_HDR = 0x4000
ETHERNET_HEADER_BYTES = 14
IFF_NO_PI = 0x1000
QUEUE_PACKETS = 5000  # packets that the kernel keeps until they are read: a probe to every peer of a large cluster


class RawDevice:
    """An interface in `namespace` that owns `addresses`, such as ("10.99.0.1/16", "fd99::1/64").

    The namespace sends every packet for the rest of those networks to the descriptor. A context manager: the kernel
    deletes the interface when the last descriptor is closed. A TAP device carries Ethernet frames and needs no ARP:
    all its frames go from MAC to MAC.
    """

    def __init__(
        self,
        namespace: Namespace,
        addresses: Iterable[str],
        kind: Literal["tun", "tap"] = "tun",
        name: str = "reflect0",
        mtu: int = 1500,
        in_frags: bool = False,
        owes_checksum: bool = False,
    ) -> None:
        """With `in_frags` a TAP device gives packets to the kernel as drivers with napi_gro_frags do.

        With `owes_checksum` its packets are those of another guest of this host, whose card would compute the checksum.
        """
        self.name = name
        self.framing = Framing(kind, owes_checksum)
        self.mtu = mtu
        with namespace.entered():
            flags = (IFF_NAPI_AND_FRAGS if in_frags else 0) | (IFF_VNET_HDR if owes_checksum else 0)
            self.descriptor = _open(name, IFF_KIND[kind] | flags)
        try:
            self._configure(namespace, addresses)
        except BaseException:
            self.close()
            raise

    def _configure(self, namespace: Namespace, addresses: Iterable[str]) -> None:
        addresses = tuple(addresses)
        with Links(namespace) as links:
            links.set_queue_length(self.name, QUEUE_PACKETS)
            links.set_mtu(self.name, self.mtu)
            if self.framing.kind == "tap":
                links.set_address_without_arp(self.name, MAC)
            links.set_up(self.name)
            for address in addresses:
                links.add_address(self.name, address)
            links.wait_until_usable(self.name, [str(ip_interface(address).ip) for address in addresses])

    def inject(self, packets: Iterable[bytes]) -> int:
        """Let IP packets arrive in the namespace through this interface; return how many.

        The kernel has received each packet when this returns; none can be lost before that.
        """
        count = 0
        for packet in packets:
            os.write(self.descriptor, self.framing.frame(packet))
            count += 1
        return count

    def answer_in_frags(self, count: int) -> None:
        """Answer the next `count` echo requests; only the Ethernet header of an answer is linear in the kernel."""
        while count:
            request = parse_echo_request(os.read(self.descriptor, 65536)[ETHERNET_HEADER_BYTES:])
            if request is not None:
                frame = self.framing.frame(reply_to(request))
                os.writev(self.descriptor, [frame[:ETHERNET_HEADER_BYTES], frame[ETHERNET_HEADER_BYTES:]])
                count -= 1

    def close(self) -> None:
        """Close the descriptor; the interface stays if another process has the descriptor too."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _open(name: str, kind: int) -> int:
    """Return the descriptor of a new device in the calling thread's namespace."""
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
    except OSError as error:
        raise TestbedError(f"cannot open /dev/net/tun: {error.strerror}; the kernel needs CONFIG_TUN") from error
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH14x", name.encode(), kind | IFF_NO_PI))
    except OSError as error:
        os.close(descriptor)
        raise TestbedError(f"cannot make the device {name}: {error.strerror}") from error
    return descriptor
