"""The reflector answers when its plan says, and records what it did."""

from __future__ import annotations

import os
import select
import signal
import statistics
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import pytest

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.namespace import Namespace
from testkit.actions import (
    Answer,
    Drop,
)
from testkit.device import RawDevice
from testkit.links import Links
from testkit.packets import echo_reply
from testkit.plan import Plan, Rule
from testkit.reflector import Reflector
from testkit.waiting import wait_until
from tests.kernel.reflected import (
    DEADLINE_SECONDS,
    IPV4,
    MILLISECOND,
    REQUESTS,
    Family,
    exchange,
    payload_of,
)

DELAY_NS = 5 * MILLISECOND


def test_records_name_each_request(namespace: Namespace, family: Family) -> None:
    """A record holds the address asked, the payload's nonce and sequence, and instants in order."""
    seen = exchange(namespace, family, Plan(delay_ns=MILLISECOND))
    assert [(str(record.address), record.nonce, record.sequence) for record in seen.records] == [
        (family.target, 1000 + number, 500 + number) for number in range(REQUESTS)
    ]
    assert all(len(record.written_ns) == 1 and record.turnaround_ns >= MILLISECOND for record in seen.records)
    reads = [record.read_ns for record in seen.records]
    assert reads == sorted(reads)
    assert all(record.unread_ns > 0 for record in seen.records)


def test_unread_time_of_a_request_is_recorded(namespace: Namespace) -> None:
    """Of 3 requests the second arrives while the reflector is stopped for 50 ms: its record has the longest wait."""
    ping = ["ping", "-n", "-q", "-c", "1", "-W", "5", IPV4.target]
    with Reflector(namespace) as reflector:
        assert reflector.process_id is not None
        namespace.run(ping)
        os.kill(reflector.process_id, signal.SIGSTOP)
        with namespace.popen(ping, stdout=subprocess.DEVNULL):
            wait_until(lambda: icmp_counter(namespace, "OutEchos") == 2)
            time.sleep(0.05)
            os.kill(reflector.process_id, signal.SIGCONT)
        namespace.run(ping)
        unread = [record.unread_ns for record in reflector.stop()]
    assert len(unread) == 3
    assert unread[1] >= 50 * MILLISECOND
    assert unread[1] == max(unread)


@pytest.mark.parametrize("kind", ["tun", "tap"])
def test_ping_sees_the_delay_that_the_reflector_claims(
    namespace: Namespace, family: Family, kind: Literal["tun", "tap"]
) -> None:
    """Each of 23 round trips is as long as the reflector's record; the median is less than the delay of 5 ms longer."""
    with Reflector(namespace, Plan(DELAY_NS), kind=kind) as reflector:
        output = namespace.run(["ping", "-n", "-c", "23", "-i", "0.02", family.target]).stdout
        records = reflector.stop()
    round_trips = [float(line.split(" time=")[1].split()[0]) * MILLISECOND for line in output.splitlines()[1:24]]
    excess = [seen - record.turnaround_ns for seen, record in zip(round_trips, records, strict=True)]
    assert min(excess) > -0.05 * MILLISECOND  # half a digit of what ping prints above 10 ms
    assert 0 < statistics.median(excess) < DELAY_NS
    assert all(record.nonce == 0 and record.sequence == number for number, record in enumerate(records, start=1))


def test_answers_keep_their_delay(namespace: Namespace, family: Family) -> None:
    """Of 101 answers none is early, and the median is late by less than the delay itself."""
    with Reflector(namespace, Plan(DELAY_NS)) as reflector:
        namespace.run(["ping", "-n", "-q", "-c", "101", "-i", "0.005", family.target])
        lateness = [record.turnaround_ns - DELAY_NS for record in reflector.stop()]
    assert len(lateness) == 101
    assert min(lateness) >= 0
    assert statistics.median(lateness) < DELAY_NS


def test_a_rule_for_one_address_leaves_others_alone(namespace: Namespace, family: Family) -> None:
    """Requests are counted by address: the second to each is the one dropped, where the rule holds."""
    plan = Plan(rules=(Rule(Drop(), every=2, offset=1, address=ip_address(family.target)),))
    with Reflector(namespace, plan, spin=False, processor=0) as reflector:
        command = ["ping", "-n", "-c", "5", "-i", "0.01", "-W", "1"]
        assert " 3 received" in namespace.run([*command, family.target]).stdout
        assert " 5 received" in namespace.run([*command, family.adjacent]).stdout
        reflector.stop()
    assert reflector.counts == {Drop(): 2, Answer(): 8}


def test_a_downed_interface_is_counted_not_fatal(namespace: Namespace) -> None:
    """An answer due while the interface is down is counted as unwritten, and the next one goes out."""
    with Reflector(namespace, Plan(1000 * MILLISECOND)) as reflector, Links(namespace) as links:
        with namespace.popen(["ping", "-c", "1", "-W", "1.5", IPV4.target], stdout=subprocess.DEVNULL):
            wait_until(lambda: icmp_counter(namespace, "OutEchos") == 1)
            links.set_up("reflect0", up=False)
        links.set_up("reflect0")
        assert " 1 received" in namespace.run(["ping", "-c", "1", "-W", "5", IPV4.target]).stdout
        records = reflector.stop()
    assert [len(record.written_ns) for record in records] == [0, 1]
    assert reflector.unwritten == 1


def icmp_counter(namespace: Namespace, name: str) -> int:
    with namespace.entered():
        text = Path("/proc/thread-self/net/snmp").read_text()
    names, values = (line.split() for line in text.splitlines() if line.startswith("Icmp:"))
    return int(values[names.index(name)])


def test_a_flood_arrives_whole(namespace: Namespace) -> None:
    """The kernel counts every one of 99,991 injected answers that nobody asked for."""
    packet = echo_reply(IPV4.target, IPV4.own, 1, 1, payload_of(0))
    with RawDevice(namespace, ["10.99.0.1/16"]) as device:
        assert device.inject(packet for _ in range(99_991)) == 99_991
    assert icmp_counter(namespace, "InEchoReps") == 99_991
    assert icmp_counter(namespace, "InErrors") == 0


def test_a_tap_device_takes_injected_packets(namespace: Namespace, family: Family) -> None:
    """Packets injected into a running reflector's TAP device reach the kernel's ICMP, 7 of 7."""
    with Reflector(namespace, kind="tap") as reflector:
        reflector.inject([echo_reply(family.target, family.own, 1, 1, payload_of(0))] * 7)
    if family is IPV4:
        assert icmp_counter(namespace, "InEchoReps") == 7
    else:
        counters = namespace.run(["cat", "/proc/net/snmp6"]).stdout.split()
        assert counters[counters.index("Icmp6InEchoReplies") + 1] == "7"


def test_a_killed_reflector_is_an_error(namespace: Namespace) -> None:
    """`stop` on a reflector that died raises an error with its exit status."""
    with Reflector(namespace) as reflector:
        assert reflector.process_id is not None
        os.kill(reflector.process_id, signal.SIGKILL)
        with pytest.raises(TestbedError, match="the reflector ended with status -9"):
            reflector.stop()


def test_stopping_twice_gives_the_same_records(namespace: Namespace) -> None:
    """`stop` may be called twice, and after it the interface is gone."""
    with Reflector(namespace) as reflector:
        namespace.run(["ping", "-c", "1", IPV4.target])
        assert len(reflector.stop()) == 1
        assert reflector.stop() is reflector.records
        assert "reflect0" not in namespace.run(["ip", "link"]).stdout


def test_the_reflector_dies_with_its_owner() -> None:
    """After SIGKILL of the process that started it, the reflector ends, though it never reads or writes."""
    owner_text = """
import sys
from monlat_ebpf.testbed.namespace import Namespace
from testkit.reflector import Reflector
with Namespace() as namespace, Reflector(namespace) as reflector:
    print(reflector.process_id, flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", owner_text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        reflector = os.pidfd_open(int(owner.stdout.readline()))
        owner.kill()
    try:
        assert select.select([reflector], [], [], DEADLINE_SECONDS)[0] == [reflector]
    finally:
        os.close(reflector)
