"""Paths on which a driver's view of a packet differs from the stack's: losses are those that ping sees.

On each path the agent's namespace is `near`; its peer is 10.78.0.2 and fd78::2.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from monlat_ebpf.model import PairSnapshot, Peer, Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit.actions import Action, FragmentWhole, TwoExtensionHeaders
from testkit.device import RawDevice
from testkit.links import Links
from testkit.plan import Plan
from testkit.reflector import Reflector
from tests.kernel.addresses import reflected_peers
from tests.kernel.measuring import Measurement

PROBES = 23
NEAR, FAR = ("10.78.0.1/24", "fd78::1/64"), ("10.78.0.2/24", "fd78::2/64")
VIRTUAL = ("10.78.9.9", "fd78:9::9")
PEER = Peer("far", (ip_address("10.78.0.2"), ip_address("fd78::2")))
DRIVER, STACK = 1, 2
LOST = re.compile(r"([\d.]+)% packet loss")


def configure(namespace: Namespace, device: str, addresses: Sequence[str]) -> None:
    with Links(namespace) as links:
        links.set_up(device)
        for address in addresses:
            links.add_address(device, address)
        links.wait_until_usable(device, [address.split("/")[0] for address in addresses])


def run(namespace: Namespace, *command: str) -> None:
    done = namespace.run(command)
    assert done.returncode == 0, done.stderr


@contextmanager
def wire() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces on one veth pair, `wire0` at both ends."""
    with Namespace("near") as near, Namespace("far") as far:
        with Links(near) as links:
            links.add_veth("wire0", far, "wire0")
            links.set_up("wire0")
        configure(far, "wire0", FAR)
        configure(near, "wire0", NEAR)
        yield near, far


@contextmanager
def macvlan() -> Iterator[Namespace]:
    """The agent's device is a macvlan whose lower device is in another namespace."""
    with Namespace("host") as host, Namespace("near") as near, Namespace("far") as far:
        with Links(host) as links:
            links.add_veth("wire0", far, "wire0")
            links.set_up("wire0")
        configure(far, "wire0", FAR)
        run(host, "ip", "link", "add", "mv0", "link", "wire0", "netns", near.path, "type", "macvlan", "mode", "bridge")
        configure(near, "mv0", NEAR)
        yield near


@contextmanager
def virtual_address() -> Iterator[Namespace]:
    """The agent probes an address that a rule of its own host translates to the peer's."""
    with wire() as (near, _):
        with Links(near) as links:
            links.add_route("10.78.9.0/24", device="wire0")
            links.add_route("fd78:9::/64", device="wire0")
        rules = (
            "table ip t { chain c { type nat hook output priority -100; ip daddr 10.78.9.9 dnat to 10.78.0.2; }; }\n"
        )
        rules += "table ip6 t { chain c { type nat hook output priority -100; ip6 daddr fd78:9::9 dnat to fd78::2; }; }"
        run(near, "nft", rules)
        yield near


@contextmanager
def two_bridges() -> Iterator[Namespace]:
    """The wire is a port of one bridge, the address is on a second one, and a veth pair joins them."""
    with Namespace("near") as near, Namespace("far") as far:
        with Links(near) as links:
            links.add_veth("wire0", far, "wire0")
            links.set_up("wire0")
            links.add_veth("join0", near, "join1")
            for bridge, ports in (("br0", ("wire0", "join0")), ("br1", ("join1",))):
                links.add_bridge(bridge)
                links.set_up(bridge)
                for port in ports:
                    links.set_master(port, bridge)
                    links.set_up(port)
        configure(far, "wire0", FAR)
        configure(near, "br1", NEAR)
        yield near


@contextmanager
def mirror() -> Iterator[Namespace]:
    """Every packet that leaves the wire is copied to a second device, behind a slow queue."""
    with wire() as (near, _), Namespace("aside") as aside, Links(near) as links:
        links.add_veth("copy0", aside, "copy0")
        links.set_up("copy0")
        with Links(aside) as others:
            others.set_up("copy0")
        links.add_token_bucket("copy0", 100_000, burst_bytes=2_000, queue_bytes=20_000)
        run(near, "tc", "qdisc", "add", "dev", "wire0", "clsact")
        run(near, "tc", "filter", "add", "dev", "wire0", "egress", "protocol", "all", "u32", "match", "u32", "0", "0",
            "action", "mirred", "egress", "mirror", "dev", "copy0")  # fmt: skip
        yield near


def measured(
    near: Namespace, peers: Sequence[Peer], probes: int = PROBES
) -> tuple[Counter[Result], Counter[int], list[PairSnapshot]]:
    """Return results, who stamped the replies, and the pairs."""
    with Measurement(near, peers, probes=probes, interval_seconds=0.05, timeout_seconds=0.4) as measurement:
        outcomes = measurement.wait()
        pairs = measurement.pairs()
    replies = [each for each in outcomes.values() if each.result is Result.REPLY]
    assert all(each.rtt_ns and each.rtt_ns > 0 for each in replies)
    assert measurement.unmatched() == {}
    return measurement.results(), Counter(each.stamped_by for each in replies), pairs


def ping_loss(namespace: Namespace, address: str) -> float:
    done = namespace.run(["ping", "-n", "-c", "5", "-i", "0.05", "-W", "1", address])
    (percent,) = LOST.findall(done.stdout)
    return float(percent)


PATHS = [
    (macvlan, PEER, DRIVER),
    (virtual_address, Peer("virtual", tuple(map(ip_address, VIRTUAL))), DRIVER),
    (two_bridges, PEER, DRIVER),
    (mirror, PEER, DRIVER),
]


@pytest.mark.parametrize(("path", "peer", "stamped_by"), PATHS, ids=lambda each: getattr(each, "__name__", ""))
def test_path_without_loss_has_replies_and_no_duplicates(path: object, peer: Peer, stamped_by: int) -> None:
    """23 probes of each family: 46 replies with a driver's stamp each, and no duplicate, where ping loses nothing."""
    assert callable(path)
    with ExitStack() as stack:
        near = stack.enter_context(path())
        assert [ping_loss(near, str(address)) for address in peer.addresses] == [0, 0]
        results, stamps, pairs = measured(near, [peer])
    assert results == {Result.REPLY: 2 * PROBES}
    assert stamps == {stamped_by: 2 * PROBES}
    assert [pair.duplicates for pair in pairs] == [0, 0]


def test_mirrored_requests_do_not_move_t1() -> None:
    """The copies wait behind a queue for up to 1.6 s; no send delay and no RTT contains that time."""
    with mirror() as near, Measurement(near, [PEER], probes=PROBES, interval_seconds=0.05) as measurement:
        outcomes = list(measurement.wait().values())
    wire_index = {each.device for each in outcomes}
    assert len(wire_index) == 1
    assert Counter(each.result for each in outcomes) == {Result.REPLY: 2 * PROBES}


@pytest.mark.parametrize("hook", ["input", "prerouting"])
def test_reply_that_the_firewall_drops_is_lost_on_this_host(hook: str) -> None:
    """Our driver gets all replies and the firewall drops them: ping loses all, and so do 46 probes."""
    with wire() as (near, _):
        rules = f"table inet t {{ chain c {{ type filter hook {hook} priority 0; icmp type echo-reply drop;"
        run(near, "nft", rules + " icmpv6 type echo-reply drop; }; }")
        assert [ping_loss(near, str(address)) for address in PEER.addresses] == [100, 100]
        with Measurement(near, [PEER], probes=PROBES, interval_seconds=0.05, timeout_seconds=0.4) as measurement:
            measurement.wait()
            pairs = measurement.pairs()
    assert measurement.results() == {Result.LOST_HOST: 2 * PROBES}
    assert measurement.prober.errors()["not_delivered"] >= 2 * PROBES
    assert [pair.rtt.count for pair in pairs] == [0, 0]


@pytest.mark.parametrize("action", [FragmentWhole(), TwoExtensionHeaders()], ids=lambda action: type(action).__name__)
def test_reply_that_only_the_stack_can_read_is_a_reply(action: Action) -> None:
    """47 answers come in two fragments, or (IPv6) behind two extension headers: 47 replies, the stack's stamp."""
    with (
        Namespace("agent") as near,
        Reflector(near, Plan.cycle([action])),
        Measurement(near, reflected_peers(47), interval_seconds=2.0, timeout_seconds=0.4) as measurement,
    ):
        outcomes = measurement.wait()
    assert measurement.results() == {Result.REPLY: 47}
    assert measurement.unmatched() == {}
    stamps = Counter((address.version, each.stamped_by) for (address, _), each in outcomes.items())
    of_ipv4 = DRIVER if action == TwoExtensionHeaders() else STACK
    assert stamps == {(4, of_ipv4): 24, (6, STACK): 23}


def test_driver_that_delivers_in_frags_is_measured(caplog: pytest.LogCaptureFixture) -> None:
    """46 replies of a device whose packets are not linear: all have the stack's stamp, and the log warns once."""
    with (
        Namespace("near") as near,
        RawDevice(near, NEAR, kind="tap", name="frags0", in_frags=True) as device,
        ThreadPoolExecutor(1) as executor,
        Measurement(near, [PEER], probes=PROBES, interval_seconds=0.05, timeout_seconds=0.4) as measurement,
    ):
        answering = executor.submit(device.answer_in_frags, 2 * PROBES)
        measurement.wait()
        answering.result(timeout=10)
    assert measurement.results() == {Result.REPLY: 2 * PROBES}
    assert set(measurement.prober.reply_stamps()) == {("frags0", "stack")}
    assert caplog.text.count("frags0: ") == 1
