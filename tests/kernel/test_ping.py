"""`monlat ping` as users run it, in namespaces."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from monlat_ebpf.testbed.namespace import Namespace
from testkit import packets
from testkit.actions import Action, Answer, Double, Drop, IcmpError
from testkit.device import RawDevice
from testkit.packets import NO_OPERATION_OPTIONS, EchoRequest
from testkit.pair import Pair
from testkit.plan import Plan, Rule
from testkit.reflector import ADDRESSES, Reflector

PING = (sys.executable, "-m", "monlat_ebpf", "ping")
SOURCES = ("tracepoint", "socket")
MILLISECOND = 1_000_000
ROUTER = bytes([10, 99, 0, 99])


def ping_json(namespace: Namespace, *arguments: str, status: int = 0) -> dict[str, Any]:
    done = namespace.run([*PING, "--json", *arguments])
    assert (done.returncode, done.stderr) == (status, "")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_every_echo_is_seen_by_kernel_and_user_space(source: str, family: str) -> None:
    """23 echoes over a wire: 23 replies, and each of the kernel's times is shorter than that of user space."""
    with Pair() as pair:
        address = getattr(pair["node2"], family)
        document = ping_json(pair["node1"].namespace, address, "--source", source, "-c", "23", "-i", "0.01")
    assert (document["host"], document["address"], document["family"]) == (address, address, family)
    assert (document["source"], document["source_reason"]) == (source, "")
    assert [probe["sequence"] for probe in document["probes"]] == list(range(23))
    assert Counter(probe["result"] for probe in document["probes"]) == {"reply": 23}
    for probe in document["probes"]:
        assert 0 < probe["send_delay_seconds"] < probe["user_rtt_seconds"]
        assert 0 < probe["rtt_seconds"] < probe["user_rtt_seconds"]
        if source == "tracepoint":  # the same clock; the socket source converts stamps of the wall clock
            assert probe["send_delay_seconds"] + probe["rtt_seconds"] < probe["user_rtt_seconds"] + 1e-6
    sums = document["summary"]
    assert (sums["sent"], sums["replies"], sums["lost"], sums["in_flight"]) == (23, 23, 0, 0)
    assert (sums["late"], sums["duplicates"]) == (0, 0)
    assert sums["rtt_seconds"]["min"] == min(probe["rtt_seconds"] for probe in document["probes"])
    assert sums["user_rtt_seconds"]["max"] == max(probe["user_rtt_seconds"] for probe in document["probes"])


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "ipv4"), ("::1", "ipv6"), ("localhost", "ipv4")])
def test_this_host_answers_itself(host: str, family: str) -> None:
    """11 echoes over loopback, where every request arrives too: 11 replies, no duplicate."""
    with Namespace("alone") as namespace:
        document = ping_json(namespace, host, "-c", "11", "-i", "0.01", *(["-4"] if host == "localhost" else []))
    assert document["family"] == family
    assert Counter(probe["result"] for probe in document["probes"]) == {"reply": 11}
    assert all(probe["user_rtt_seconds"] > probe["rtt_seconds"] for probe in document["probes"])
    assert document["summary"]["duplicates"] == 0


def test_slots_are_used_again() -> None:
    """307 echoes, while the table has 256 slots: 307 replies, each to its own probe."""
    with Namespace("alone") as namespace:
        document = ping_json(namespace, "127.0.0.1", "-c", "307", "-i", "0.01", "-W", "0.2")
    assert [probe["sequence"] for probe in document["probes"]] == list(range(307))
    assert all(probe["user_rtt_seconds"] > probe["rtt_seconds"] for probe in document["probes"])
    assert (document["summary"]["replies"], document["summary"]["duplicates"]) == (307, 0)


def test_a_link_local_address_works_with_its_interface() -> None:
    """7 echoes to the fe80:: address of the other end of the wire: 7 replies."""
    with Pair() as pair:
        shown = pair["node2"].namespace.run(["ip", "-o", "-6", "address", "show", "dev", "eth0", "scope", "link"])
        found = re.search(r"inet6 (fe80\S+)/64", shown.stdout)
        assert found is not None
        document = ping_json(pair["node1"].namespace, f"{found[1]}%eth0", "-c", "7", "-i", "0.01")
    assert Counter(probe["result"] for probe in document["probes"]) == {"reply": 7}


def ping_answered(namespace: Namespace, source: str, answers: Sequence[Callable[[EchoRequest], list[bytes]]]) -> Any:
    """Ping the wire of a raw device once for each of `answers`, which says what arrives then, and return the JSON."""
    with RawDevice(namespace, ADDRESSES) as device:
        arguments = ("10.99.1.1", "--source", source, "-c", str(len(answers)), "-i", "0.05")
        process = namespace.popen([*PING, "--json", *arguments], stdout=subprocess.PIPE, text=True)
        left = list(answers)
        while left:
            request = packets.parse_echo_request(os.read(device.descriptor, 65536))
            if request is not None:
                device.inject(left.pop(0)(request))
        return json.loads(process.communicate(timeout=60)[0])


def time_exceeded(request: EchoRequest, options: bytes = b"") -> bytes:
    """Return a router's error, with IPv4 options in its header and in the quoted one."""
    quote = packets.ipv4(request.source, request.destination, request.packet[20:], options)
    error = packets.icmp(ROUTER, request.source, 11, 0, 0, quote)
    return packets.ipv4(ROUTER, request.source, error, options)


def with_options(request: EchoRequest) -> list[bytes]:
    reply = packets.reply_message(request)
    return [packets.ipv4(request.destination, request.source, reply, NO_OPERATION_OPTIONS)]


@pytest.mark.parametrize("source", SOURCES)
def test_ip_options_do_not_hide_an_answer_from_user_space(source: str, namespace: Namespace) -> None:
    """5 replies whose IPv4 header has options, then an ICMP error with options that quotes a header with options."""
    answers = [*[with_options] * 5, lambda request: [time_exceeded(request, NO_OPERATION_OPTIONS)]]
    *replies, rejected = ping_answered(namespace, source, answers)["probes"]
    assert [probe["result"] for probe in replies] == ["reply"] * 5
    assert all(0 < probe["rtt_seconds"] < probe["user_rtt_seconds"] for probe in replies)
    assert (rejected["error"], rejected["error_from"]) == ("icmp_time_exceeded", "10.99.0.99")


@pytest.mark.parametrize("source", SOURCES)
def test_first_reply_after_an_icmp_error_is_no_duplicate(source: str, namespace: Namespace) -> None:
    """An error and one reply, an error and two replies, a reply: the second reply alone is a duplicate."""
    answers = [
        lambda request: [time_exceeded(request), packets.reply_to(request)],
        lambda request: [time_exceeded(request), *[packets.reply_to(request)] * 2],
        lambda request: [packets.reply_to(request)],
    ]
    document = ping_answered(namespace, source, answers)
    assert [probe["result"] for probe in document["probes"]] == ["unreachable", "unreachable", "reply"]
    assert document["summary"]["duplicates"] == 1


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("address", "kind", "router"), [("10.99.1.1", (11, 0), "10.99.0.99"), ("fd99::1:1", (3, 0), "fd99::99")]
)
def test_every_fault_is_shown_as_such(source: str, address: str, kind: tuple[int, int], router: str) -> None:
    """Of 13 probes one is late, one dropped, one doubled, one rejected by a router: each is shown as that."""
    faults: tuple[Action, ...] = (
        Answer(450 * MILLISECOND),
        Drop(),
        Double(30 * MILLISECOND),
        IcmpError(*kind, None, source=router),
    )
    plan = Plan(0, tuple(Rule(action, every=13, offset=offset) for offset, action in enumerate(faults)))
    with Namespace("agent") as namespace, Reflector(namespace, plan, spin=False):
        document = ping_json(namespace, address, "--source", source, "-c", "13", "-i", "0.1", "-W", "0.4")
    probes = document["probes"]
    assert [probe["result"] for probe in probes] == (
        ["lost_network", "lost_network", "reply", "unreachable"] + ["reply"] * 9
    )
    assert (probes[3]["error"], probes[3]["error_from"]) == ("icmp_time_exceeded", router)
    assert all(probe["rtt_seconds"] is None for probe in probes if probe["result"] != "reply")
    sums = document["summary"]
    assert (sums["sent"], sums["replies"], sums["lost"]) == (13, 10, 3)
    assert (sums["late"], sums["duplicates"]) == (1, 1)


def test_late_and_double_replies_have_lines_of_their_own() -> None:
    """The late one with the kernel's RTT, 450 ms and more; the exit status is 0, as there are replies."""
    plan = Plan(0, (Rule(Answer(450 * MILLISECOND), every=7), Rule(Double(30 * MILLISECOND), every=7, offset=1)))
    with Namespace("agent") as namespace, Reflector(namespace, plan, spin=False):
        done = namespace.run([*PING, "10.99.1.1", "-c", "7", "-i", "0.1", "-W", "0.4"])
    assert (done.returncode, done.stderr) == (0, "")
    late = re.search(r"^ +0  late reply, after it was counted as lost: kernel RTT (\d+) ms$", done.stdout, re.MULTILINE)
    assert late is not None
    assert int(late[1]) >= 450
    assert "\n       0  lost in the network: no reply within 400ms\n" in done.stdout
    assert "\n       1  duplicate reply\n" in done.stdout
    assert "10.99.1.1: 7 sent, 6 replies, 14.3% lost, 1 in the network, 1 late, 1 duplicates\n" in done.stdout


def test_nobody_answers() -> None:
    """--json sends 5 probes by default; all are lost, so the exit status is 1."""
    with Namespace("agent") as namespace, Reflector(namespace, Plan.cycle([Drop()]), spin=False):
        document = ping_json(namespace, "10.99.1.1", "-i", "0.01", "-W", "0.1", status=1)
    assert document["summary"]["results"]["lost_network"] == 5
    assert document["summary"]["rtt_seconds"] == {"min": None, "p50": None, "p99": None, "max": None}


def test_no_route_is_a_send_error_with_its_name() -> None:
    """3 probes without a route: the system call's own error, exit status 1."""
    with Namespace("agent") as namespace:
        document = ping_json(namespace, "192.0.2.1", "-c", "3", "-i", "0.01", status=1)
    assert [(probe["result"], probe["error"]) for probe in document["probes"]] == [("send_error", "ENETUNREACH")] * 3


def test_a_firewall_of_this_host_is_a_send_error_too() -> None:
    """nft drops the requests on their way out: EPERM, as the system call says."""
    with Namespace("agent") as namespace:
        for command in (
            "add table inet t",
            "add chain inet t out { type filter hook output priority 0; }",
            "add rule inet t out icmp type echo-request drop",
        ):
            assert namespace.run(["nft", command]).returncode == 0
        document = ping_json(namespace, "127.0.0.1", "-c", "3", "-i", "0.01", status=1)
    assert [(probe["result"], probe["error"]) for probe in document["probes"]] == [("send_error", "EPERM")] * 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_prints_the_summary(number: signal.Signals) -> None:
    """Without -c it runs until a signal; that comes after the line of the second reply. The exit status is 0."""
    with Namespace("agent") as namespace:
        process = namespace.popen(
            [*PING, "127.0.0.1", "-i", "0.05"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        os.kill(process.pid, number)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.fullmatch(r" +1( +\d+\.\d+){3}\n", lines[3])
    sums = re.search(r"^127\.0\.0\.1: (\d+) sent, (\d+) replies, 0% lost(, 1 in flight)?$", rest, re.MULTILINE)
    assert sums is not None
    assert int(sums[1]) >= int(sums[2]) >= 2


def test_without_rights_it_is_one_line() -> None:
    """Without any capability: one line says what is missing, exit status 1, no traceback."""
    with Namespace("agent") as namespace:
        done = namespace.run(["setpriv", "--bounding-set", "-all", *PING, "127.0.0.1", "-c", "1"])
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("monlat: no raw socket")
    assert "CAP_NET_RAW" in line


def test_without_bpf_it_measures_with_the_socket_and_says_so() -> None:
    """With NET_RAW alone: 3 replies by the socket source, and the document has the reason."""
    with Namespace("agent") as namespace:
        done = namespace.run(
            ["setpriv", "--bounding-set", "-all,+net_raw", *PING, "127.0.0.1", "-c", "3", "-i", "0.01", "--json"]
        )
    document = json.loads(done.stdout)
    assert (done.returncode, document["source"]) == (0, "socket")
    assert "lacks CAP_BPF and CAP_PERFMON" in document["source_reason"]
    assert [probe["result"] for probe in document["probes"]] == ["reply"] * 3
