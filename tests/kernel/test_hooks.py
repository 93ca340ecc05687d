"""Which packet a hook takes for ours, and in which form it can read it.

These paths are beside those of testkit/paths, because no user needs a row of the README's table for them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from testkit.paths.answerer import with_two_tags
from testkit.paths.devices import answered, veth
from testkit.paths.ground import Ends, Ground, Path, ip, path, run
from testkit.paths.redirects import mirred
from tests.kernel.path_rows import Measured, measure

PROBES = 23
PATHS: list[Path] = []


@path("redirect to ifb and back, a queue on both", among=PATHS)
def redirect_to_ifb(ground: Ground) -> Ends:
    """Shaping of what is sent: a clone leaves by ifb, and later by the wire; the original leaves by none."""
    built, wire, device = veth(ground), ground.device("wire"), ground.device("ifb")
    ip(ground.near, f"link add {device} type ifb", f"link set {device} up")
    for slow in (device, wire):
        ground.slow(ground.near, slow)
    run(ground.near, "tc", "qdisc", "add", "dev", wire, "clsact")
    for protocol, priority in (("ip", 1), ("ipv6", 2)):  # not the filler's frames
        rule = f"filter add dev {wire} egress protocol {protocol} prio {priority}"
        rule += f" u32 match u32 0 0 action mirred egress redirect dev {device}"
        run(ground.near, "tc", *rule.split())
    return built


@path("mirror of requests, a queue on the wire", among=PATHS)
def mirror(ground: Ground) -> Ends:
    """The clone leaves some milliseconds before the original does."""
    built, copy, end = veth(ground), ground.device("cpy"), ground.device("end")
    ip(ground.near, f"link add {copy} type veth peer name {end}", f"link set {copy} up", f"link set {end} up")
    ground.slow(ground.near, ground.device("wire"))
    mirred(ground, ground.device("wire"), "egress", "mirror", copy)
    return built


@path("reply with two tags", among=PATHS)
def two_tags(ground: Ground) -> Ends:
    """A driver that removes no tags leaves them before the IP header."""
    return answered(ground, change=with_two_tags)


OWED = "reply whose checksum a device owes"


@path(OWED, among=PATHS)
def owed_checksum(ground: Ground) -> Ends:
    """The stack does not check what never was on a wire, and nor may the filter."""
    return answered(ground, owes_checksum=True)


@pytest.fixture(scope="module")
def measured() -> Measured:
    return measure(PATHS, PROBES)


@pytest.mark.parametrize("name", [path.name for path in PATHS])
def test_hooks_read_and_choose_the_right_packet(name: str, measured: Measured) -> None:
    """23 replies of each family with a driver's stamp, RTTs as the packet sockets have them, no duplicate."""
    assert measured.unbuilt.get(name) is None
    rows = [row for row in measured.rows if row.path.name == name]
    if name == OWED:  # the stack delivers these replies, but newer versions of ping check the checksum again
        rows = [replace(row, ping_loss=0.0) for row in rows]
    assert [len(row.outcomes) for row in rows] == [PROBES] * 2
    assert [fault for row in rows for fault in row.faults()] == []


def test_rtts_have_a_reference(measured: Measured) -> None:
    """Each row but the one with tags is compared: a packet socket sees tags in place of the packet."""
    compared = {row.path.name for row in measured.rows if len(row.beside_capture_ns) == PROBES}
    assert len(compared) >= 3


def test_no_packet_is_unmatched(measured: Measured) -> None:
    """None but replies whose request no hook saw; `faults` bounds how many these are."""
    assert measured.unmatched.keys() <= {"not_transmitted"}
