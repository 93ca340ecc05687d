"""Runs `monlat doctor` in a namespace of the test bed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from monlat_ebpf.testbed.namespace import Namespace

DOCTOR = (sys.executable, "-m", "monlat_ebpf", "doctor")
ECHO = "net.ipv4.icmp_echo_ignore_all"
SHARED = "ARP and NDP tables"
"""The check of tables that all namespaces share, so that other tests fill them meanwhile."""


def documented(
    namespace: Namespace, addresses: Sequence[str] = (), before: Sequence[str] = ()
) -> tuple[int, dict[str, Any]]:
    """Return the exit status and the JSON. `before` is a command that the doctor is started with."""
    done = namespace.run([*before, *DOCTOR, "--json", *addresses])
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["ok"] is (done.returncode == 0)
    return done.returncode, document


def doctor(
    namespace: Namespace, before: Sequence[str] = (), addresses: Sequence[str] = ()
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit status and the checks by name."""
    status, document = documented(namespace, addresses, before)
    return status, {check["name"]: check for check in document["checks"]}


def not_ok(checks: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the problems by name, without those of the whole machine. What was not checked is none."""
    return {
        name: check["status"]
        for name, check in checks.items()
        if check["status"] in ("warn", "fail") and name != SHARED
    }


def skipped(checks: dict[str, dict[str, Any]]) -> set[str]:
    """Return what was not checked, without what is of the whole machine."""
    return {name for name, check in checks.items() if check["status"] == "skip" and name != SHARED}
