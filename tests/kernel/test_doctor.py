"""`monlat doctor` end to end, on machines with defects made of namespaces, capabilities, mounts and rules."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from monlat_ebpf.testbed.namespace import Namespace
from testkit.pair import Pair
from tests.kernel import refusing_bpf
from tests.kernel.agents import RunningAgent, entry
from tests.kernel.doctors import DOCTOR, ECHO, SHARED, doctor, not_ok, skipped


def test_every_check_is_ok_on_this_machine() -> None:
    """In a new namespace, both sources measure both families."""
    with Namespace("fit") as namespace:
        status, checks = doctor(namespace)
    assert (status, not_ok(checks)) == (0, {})
    for source in ("tracepoint source", "socket source"):
        assert "127.0.0.1 in " in checks[source]["found"]
        assert "::1 in " in checks[source]["found"]


def test_output_to_a_pipe_is_plain_text() -> None:
    """One line per check, no colours, the conclusion last."""
    with Pair() as pair:
        done = pair["node1"].namespace.run([*DOCTOR, "10.77.0.2"])
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    of_checks = [line for line in lines[:-1] if not line.startswith(" ")]  # a problem has further lines, indented
    assert len(of_checks) == 16
    assert all(line.startswith("ok  ") or SHARED in line for line in of_checks)
    assert lines[-1] == "an agent can measure at driver level here"
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("kept", "missing"),
    [
        ("-all,+net_raw,+bpf", ["CAP_PERFMON"]),
        ("-all,+net_raw", ["CAP_BPF", "CAP_PERFMON"]),
        ("-all,+bpf,+perfmon", ["CAP_NET_RAW"]),
    ],
)
def test_missing_capability_is_named(kept: str, missing: list[str]) -> None:
    """The exit status is 1. The tracepoint source fails because of it, and names it too."""
    with Namespace("weak") as namespace:
        status, checks = doctor(namespace, ("setpriv", "--bounding-set", kept))
    assert status == 1
    assert checks["capabilities"]["found"] == f"missing: {', '.join(missing)}"
    assert checks["tracepoint source"]["status"] == "fail"
    assert all(name in checks["tracepoint source"]["found"] for name in missing)


def test_three_capabilities_are_enough() -> None:
    """BPF, PERFMON and NET_RAW, as the DaemonSet has them, allow measuring at driver level."""
    with Namespace("pod") as namespace:
        status, checks = doctor(namespace, ("setpriv", "--bounding-set", "-all,+net_raw,+bpf,+perfmon"))
    assert (status, not_ok(checks)) == (0, {})
    assert checks["capabilities"]["found"] == "CAP_BPF, CAP_PERFMON, CAP_NET_RAW"


def test_seccomp_is_distinguished_from_a_missing_capability() -> None:
    """With all capabilities, a filter answers EPERM to bpf. Both checks name the seccomp profile."""
    with Namespace("container") as namespace:
        status, checks = doctor(namespace, (sys.executable, refusing_bpf.__file__))
    assert status == 1
    assert not_ok(checks) == {"bpf call": "fail", "tracepoint source": "fail"}
    assert "seccomp" in checks["bpf call"]["found"]
    assert "seccompProfile" in checks["bpf call"]["remedy"]
    assert "seccomp" in checks["tracepoint source"]["found"]


def test_user_namespace_is_distinguished_from_a_missing_capability() -> None:
    """Root in a new user namespace has every capability, but none that counts for bpf."""
    with Namespace("rootless") as namespace:
        status, checks = doctor(namespace, ("unshare", "--user", "--net", "--map-root-user"))
    assert status == 1
    assert checks["capabilities"]["status"] == "fail"
    assert "user namespace" in checks["capabilities"]["found"]
    assert "user namespace" in checks["tracepoint source"]["found"]


def test_node_that_ignores_ipv4_echo_gets_a_warning() -> None:
    """It can measure, but its peers cannot measure it. The exit status is 0."""
    with Namespace("mute") as namespace:
        namespace.sysctl(ECHO, 1)
        status, checks = doctor(namespace)
    assert (status, not_ok(checks)) == (0, {"echo": "warn"})
    assert f"{ECHO}=1" in checks["echo"]["found"]
    assert f"sysctl -w {ECHO}=0" in checks["echo"]["remedy"]
    assert "127.0.0.1 lost_network, ::1 in " in checks["tracepoint source"]["found"]


def test_node_that_ignores_all_echo_can_still_measure_others() -> None:
    """The hooks see the requests leave, so the sources get warnings only."""
    with Namespace("mute") as namespace:
        namespace.sysctl(ECHO, 1)
        namespace.sysctl("net.ipv6.icmp.echo_ignore_all", 1)
        status, checks = doctor(namespace)
    assert status == 0
    assert not_ok(checks) == {"echo": "warn", "tracepoint source": "warn", "socket source": "warn"}


def test_firewall_rule_that_drops_echo_is_named() -> None:
    """nft drops incoming ICMP echo. The chain is named, and this host does not answer itself."""
    with Namespace("walled") as namespace:
        for command in (
            "add table inet guard",
            "add chain inet guard in { type filter hook input priority 0; }",
            "add rule inet guard in icmp type echo-request drop",
            "add rule inet guard in icmpv6 type echo-request drop",
        ):
            assert namespace.run(["nft", command]).returncode == 0
        status, checks = doctor(namespace)
    assert status == 0
    assert not_ok(checks) == {"firewall": "warn", "tracepoint source": "warn", "socket source": "warn"}
    assert checks["firewall"]["found"].count("nft: a rule of chain inet guard in (handle ") == 2


def test_port_used_by_another_program_gets_a_warning() -> None:
    """A listener that is not an agent uses 10045, on IPv4 only."""
    with Namespace("busy") as namespace:
        with namespace.entered():
            listener = socket.create_server(("0.0.0.0", 10045))
        with listener:
            status, checks = doctor(namespace)
    assert (status, not_ok(checks)) == (0, {"port": "warn"})


def test_port_used_by_an_agent_is_ok(tmp_path: Path) -> None:
    """A running agent answers there. Its peers are tested."""
    with Pair() as pair:
        namespace = pair["node1"].namespace
        with RunningAgent(namespace, tmp_path, [entry("node2", "10.77.0.2", "fd77::2")]):
            status, checks = doctor(namespace)
    assert (status, not_ok(checks)) == (0, {})
    for address in ("10.77.0.2", "fd77::2"):
        assert checks[f"path {address}"]["found"].startswith("node2: 5 of 5 probes through eth0 answered, stamped by")
    assert checks["port"]["found"] == "TCP port 10045 is used by an agent"


@pytest.mark.parametrize(("groups", "problems"), [("5 7", {"ping sockets": "warn"}), ("0 7", {})])
def test_ping_sockets_of_other_users_are_a_warning(groups: str, problems: dict[str, str]) -> None:
    """Groups 5 to 7 may open them and root's may not: an agent cannot reserve its identifier. With group 0 it can."""
    with Namespace("open") as namespace:
        namespace.sysctl("net.ipv4.ping_group_range", groups)
        status, checks = doctor(namespace)
    assert (status, not_ok(checks)) == (0, problems)


def test_probes_from_another_address_than_the_listed_one_are_a_warning(tmp_path: Path) -> None:
    """The list of peers gives this node an IPv4 address that it does not have. Its IPv6 address is right."""
    entries = [entry("node1", "10.77.0.99", "fd77::1"), entry("node2", "10.77.0.2", "fd77::2")]
    with Pair() as pair, RunningAgent(pair["node1"].namespace, tmp_path, entries):
        status, checks = doctor(pair["node1"].namespace)
    assert (status, not_ok(checks)) == (0, {"own address": "warn"})
    assert "ipv4: " in checks["own address"]["found"]
    assert "ipv6" not in checks["own address"]["found"]


EMPTY_PROC = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc || exit 99; exec "$@"', "sh")


def test_without_proc_each_unknown_fact_is_skipped() -> None:
    """The tracepoint source fails and says why; what depends on /proc is neither ok nor a problem."""
    with Pair() as pair:
        status, checks = doctor(pair["node1"].namespace, EMPTY_PROC, ["10.77.0.2"])
    of_proc = {"capabilities", "bpf call", "echo", "echo rate", "firewall", "ping sockets"}
    assert (status, not_ok(checks)) == (1, {"tracepoint source": "fail"})
    assert skipped(checks) == {*of_proc, "path 10.77.0.2"}
    for name in of_proc:
        assert checks[name]["found"].startswith("not checked: /proc/")


def test_without_capabilities_each_unknown_fact_is_skipped() -> None:
    """Neither bpf nor nft nor a raw socket can be used."""
    with Pair() as pair:
        status, checks = doctor(pair["node1"].namespace, ("setpriv", "--bounding-set", "-all"), ["10.77.0.2"])
    assert status == 1
    assert not_ok(checks) == {"capabilities": "fail", "tracepoint source": "fail", "socket source": "warn"}
    assert skipped(checks) == {"bpf call", "firewall", "path 10.77.0.2"}


def test_unknown_host_is_status_2() -> None:
    """One line names it."""
    with Namespace("node") as namespace:
        done = namespace.run([*DOCTOR, "no such host"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("monlat: host 'no such host' has no address")
