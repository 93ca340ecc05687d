"""`monlat doctor` for real: on machines that lack something, made of namespaces, capabilities and a filter."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from monlat_ebpf.testbed.namespace import Namespace
from tests.kernel import refusing_bpf
from tests.kernel.agents import RunningAgent

DOCTOR = (sys.executable, "-m", "monlat_ebpf", "doctor")
ECHO = "net.ipv4.icmp_echo_ignore_all"


def doctor(namespace: Namespace, before: Sequence[str] = ()) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status, and the checks by name; `before` is a command that runs the doctor."""
    done = namespace.run([*before, *DOCTOR, "--json"])
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["ok"] is (done.returncode == 0)
    return done.returncode, {check["name"]: check for check in document["checks"]}


def amiss(checks: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: check["status"] for name, check in checks.items() if check["status"] != "ok"}


def test_nothing_is_amiss_here() -> None:
    """This machine, in a namespace of its own: all well, and both sources measured both families."""
    with Namespace("fit") as namespace:
        status, checks = doctor(namespace)
    assert (status, amiss(checks)) == (0, {})
    for source in ("tracepoint source", "socket source"):
        assert "127.0.0.1 in " in checks[source]["found"]
        assert "::1 in " in checks[source]["found"]


def test_in_a_pipe_it_is_plain_text() -> None:
    """A line a check, no colours, the diagnosis last."""
    with Namespace("fit") as namespace:
        done = namespace.run(DOCTOR)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 14
    assert all(line.startswith("ok  ") for line in lines[:-1])
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
def test_a_missing_capability_is_named(kept: str, missing: list[str]) -> None:
    """Exit status 1; the tracepoint source fails for want of it, and says so as well."""
    with Namespace("weak") as namespace:
        status, checks = doctor(namespace, ("setpriv", "--bounding-set", kept))
    assert status == 1
    assert checks["capabilities"]["found"] == f"missing: {', '.join(missing)}"
    assert checks["tracepoint source"]["status"] == "fail"
    assert all(name in checks["tracepoint source"]["found"] for name in missing)


def test_the_agents_three_capabilities_suffice() -> None:
    """BPF, PERFMON and NET_RAW, as the DaemonSet has them: it measures at driver level, and nothing is amiss."""
    with Namespace("pod") as namespace:
        status, checks = doctor(namespace, ("setpriv", "--bounding-set", "-all,+net_raw,+bpf,+perfmon"))
    assert (status, amiss(checks)) == (0, {})
    assert checks["capabilities"]["found"] == "CAP_BPF, CAP_PERFMON, CAP_NET_RAW"


def test_seccomp_is_told_apart_from_a_missing_capability() -> None:
    """All capabilities, but a filter answers EPERM to bpf: the profile is what the doctor and the loader name."""
    with Namespace("container") as namespace:
        status, checks = doctor(namespace, (sys.executable, refusing_bpf.__file__))
    assert status == 1
    assert amiss(checks) == {"bpf call": "fail", "tracepoint source": "fail"}
    assert "seccomp" in checks["bpf call"]["found"]
    assert "seccompProfile" in checks["bpf call"]["remedy"]
    assert "seccomp" in checks["tracepoint source"]["found"]


def test_a_user_namespace_is_told_apart_too() -> None:
    """Root in a user namespace of its own has every capability, and none that counts for bpf."""
    with Namespace("rootless") as namespace:
        status, checks = doctor(namespace, ("unshare", "--user", "--net", "--map-root-user"))
    assert status == 1
    assert checks["capabilities"]["status"] == "fail"
    assert "user namespace" in checks["capabilities"]["found"]
    assert "user namespace" in checks["tracepoint source"]["found"]


def test_a_node_that_answers_no_echo_is_warned_of() -> None:
    """IPv4 echo is ignored: this node measures, and the peers cannot measure it; exit status 0."""
    with Namespace("mute") as namespace:
        namespace.sysctl(ECHO, 1)
        status, checks = doctor(namespace)
    assert (status, amiss(checks)) == (0, {"echo": "warn"})
    assert f"{ECHO}=1" in checks["echo"]["found"]
    assert f"sysctl -w {ECHO}=0" in checks["echo"]["remedy"]
    assert "127.0.0.1 lost_network, ::1 in " in checks["tracepoint source"]["found"]


def test_a_node_that_answers_nothing_can_still_measure_others() -> None:
    """Echo of both families is ignored: the hooks saw the requests go, so the sources are warned of and no more."""
    with Namespace("mute") as namespace:
        namespace.sysctl(ECHO, 1)
        namespace.sysctl("net.ipv6.icmp.echo_ignore_all", 1)
        status, checks = doctor(namespace)
    assert status == 0
    assert amiss(checks) == {"echo": "warn", "tracepoint source": "warn", "socket source": "warn"}


def test_a_firewall_that_drops_echo_is_named() -> None:
    """nft drops what comes in of ICMP echo: the chain of the rule, and that this host does not answer itself."""
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
    assert amiss(checks) == {"firewall": "warn", "tracepoint source": "warn", "socket source": "warn"}
    assert checks["firewall"]["found"].count("nft: a rule of chain inet guard in (handle ") == 2


def test_a_port_that_something_else_has_is_warned_of() -> None:
    """A listener that is no agent has 10045, on IPv4 alone."""
    with Namespace("busy") as namespace:
        with namespace.entered():
            listener = socket.create_server(("0.0.0.0", 10045))
        with listener:
            status, checks = doctor(namespace)
    assert (status, amiss(checks)) == (0, {"port": "warn"})


def test_an_agent_at_the_port_is_as_it_should_be(tmp_path: Path) -> None:
    """Beside a running agent the doctor sees that it is one."""
    with Namespace("node") as namespace, RunningAgent(namespace, tmp_path):
        status, checks = doctor(namespace)
    assert (status, amiss(checks)) == (0, {})
    assert checks["port"]["found"] == "an agent answers at TCP port 10045"
