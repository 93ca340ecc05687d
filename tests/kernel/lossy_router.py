"""Two nodes, and a router between them that drops by plan and counts its drops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from monlat_ebpf.model import Peer
from monlat_ebpf.testbed.namespace import Namespace
from testkit.links import Links

RULES = """
table inet loss {{
    counter requests {{ }}
    counter answers {{ }}
    counter reports {{ }}
    chain forward {{
        type filter hook forward priority 0
        iifname "near0" icmp type echo-request jump way_there
        iifname "near0" icmpv6 type echo-request jump way_there
        iifname "far0" icmp type echo-reply jump way_back
        iifname "far0" icmpv6 type echo-reply jump way_back
        iifname "far0" icmp type echo-request jump reports
        iifname "far0" icmpv6 type echo-request jump reports
    }}
    chain way_there {{
        numgen inc mod 100 < {forward} counter name "requests" drop
    }}
    chain way_back {{
        numgen inc mod 100 < {back} counter name "answers" drop
    }}
    chain reports {{
        numgen inc mod 100 < {reports} counter name "reports" drop
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What the router has dropped: the near node's requests, the far node's replies, and the far node's requests."""

    forward: int
    back: int
    reports: int


@dataclass(frozen=True, slots=True)
class LossyRouter:
    """Peers of the same number are a pair: each sends to the other from the address of that pair."""

    near: Namespace
    far: Namespace
    router: Namespace
    peers_of_near: tuple[Peer, ...]
    peers_of_far: tuple[Peer, ...]

    @contextmanager
    def losing(self, *, forward: int, back: int, reports: int) -> Iterator[None]:
        """Drop inside the block, of every hundred packets of a kind, that many: the first ones."""
        self._nft(RULES.format(forward=forward, back=back, reports=reports))
        yield
        self._nft("flush chain inet loss forward")

    def _nft(self, command: str) -> None:
        done = self.router.run(["nft", command])
        assert done.returncode == 0, done.stderr

    def dropped(self) -> Dropped:
        """Return what was dropped so far."""
        listing = json.loads(self.router.run(["nft", "-j", "list", "counters", "table", "inet", "loss"]).stdout)
        counters = {entry["counter"]["name"]: entry["counter"]["packets"] for entry in listing["nftables"][1:]}
        return Dropped(counters["requests"], counters["answers"], counters["reports"])


def _addresses(pair: int, side: str, host: int) -> tuple[str, str]:
    """Return an IPv4 and an IPv6 address, with prefix lengths, of a pair's wire on one side.

    Each pair has its own network on both sides, and one IPv6 prefix for both. So each node sends from the address of
    the pair that it sends to, by the rules of source address selection (RFC 6724, rule 8).
    """
    net, letter = {"near": ("10.78", "a"), "far": ("10.79", "b")}[side]
    return f"{net}.{pair}.{host}/24", f"fd78:0:0:{pair:x}::{letter}:{host}/112"


@contextmanager
def lossy_router(pairs: int) -> Iterator[LossyRouter]:
    """Connect two nodes by `pairs` addresses each of both families."""
    with ExitStack() as stack:
        near, far, router = (stack.enter_context(Namespace(name)) for name in ("near", "far", "router"))
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            router.sysctl(key, 1)
        middle = stack.enter_context(Links(router))
        sides = {"near": (near, "far"), "far": (far, "near")}
        ends = {side: stack.enter_context(Links(namespace)) for side, (namespace, _) in sides.items()}
        for side, links in ends.items():
            middle.add_veth(f"{side}0", sides[side][0], "eth0")
            for owner, name in ((links, "eth0"), (middle, f"{side}0")):
                owner.set_up(name)
            for pair in range(pairs):
                for own, gateway in zip(_addresses(pair, side, 1), _addresses(pair, side, 254), strict=True):
                    links.add_address("eth0", own)
                    middle.add_address(f"{side}0", gateway)
        for side, links in ends.items():
            links.wait_until_usable("eth0", [text.split("/")[0] for text in _addresses(0, side, 1)])
            middle.wait_until_usable(f"{side}0")
            for pair in range(pairs):
                others, gateways = _addresses(pair, sides[side][1], 1), _addresses(pair, side, 254)
                for other, gateway, length in zip(others, gateways, (32, 128), strict=True):
                    links.add_route(f"{other.split('/')[0]}/{length}", gateway=gateway.split("/")[0])
        peers = {
            side: tuple(
                Peer(f"{side}{pair}", tuple(ip_address(text.split("/")[0]) for text in _addresses(pair, side, 1)))
                for pair in range(pairs)
            )
            for side in sides
        }
        yield LossyRouter(near, far, router, peers_of_near=peers["far"], peers_of_far=peers["near"])
