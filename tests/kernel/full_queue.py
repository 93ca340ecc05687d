"""A queue before a link that is kept full, so that every packet that leaves by it waits."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from monlat_ebpf.testbed.network import Node
from testkit.links import Links

BITS_PER_SECOND = 10_000_000
BURST_BYTES = 3_000
QUEUE_BYTES = 500_000  # more than is ever put in: nothing may be dropped
DATAGRAM = bytes(1_400)
SEND_BUFFER_BYTES = 90_000  # the kernel doubles it, and takes 2.3 kB of it for each: some 78 datagrams, 90 ms
DISCARD_PORT = 9
FILL_SECONDS = 20


def write_arp_entries(one: Node, other: Node) -> None:
    """Give both nodes the other's hardware address for good.

    Otherwise ARP requests and neighbour solicitations, and the answers to them, wait in the full queue or are dropped
    there. The probes that need them are then lost on the host.
    """
    for node, peer in ((one, other), (other, one)):
        for address in filter(None, (peer.ipv4, peer.ipv6)):
            (route,) = _ip(node, "route", "get", address)
            (owner,) = (each for each in _ip(peer, "address", "show", "to", address) if each.get("addr_info"))
            (link,) = _ip(peer, "link", "show", "dev", owner["ifname"])
            entry = (address, "lladdr", link["address"], "dev", route["dev"], "nud", "permanent")
            _ip(node, "neigh", "replace", *entry)


def _ip(node: Node, *arguments: str) -> Any:
    done = node.namespace.run(["ip", "-json", *arguments])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "null")


@contextmanager
def full_queue(sender: Node, receiver: Node) -> Iterator[None]:
    """Let everything that `sender` sends wait for some 90 ms in a token bucket's queue, which drops nothing."""
    write_arp_entries(sender, receiver)
    with sender.namespace.entered():
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver.namespace.entered():
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # never read: what it has no room for is dropped
    stopping, full = threading.Event(), threading.Event()

    def fill() -> None:
        while not stopping.is_set():
            try:
                out.send(DATAGRAM)
            except BlockingIOError:
                full.set()
                select.select([], [out], [], 1)

    thread = threading.Thread(target=fill, name="filler")
    with Links(sender.namespace) as links, out, sink:
        sink.bind((receiver.ipv4, DISCARD_PORT))
        out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        out.setblocking(False)
        out.connect((receiver.ipv4, DISCARD_PORT))
        links.add_token_bucket(sender.device, BITS_PER_SECOND, BURST_BYTES, QUEUE_BYTES)
        thread.start()
        try:
            assert full.wait(FILL_SECONDS), "the queue does not fill"
            yield
        finally:
            stopping.set()
            thread.join()
            links.delete_queue(sender.device)
