"""Tests that only a cluster of the tests' own allows do not pass silently in another."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.manifest_files import ROOT


def test_what_another_cluster_does_not_allow_is_named_with_the_reason() -> None:
    """Each test has a line, and a run of nothing else is no success: pytest's status for "no tests" is 5."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MONLAT_CLUSTER", "KUBECONFIG")}
    files = ["tests/real_cluster/power.py", "tests/real_cluster/control_plane.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stdout + done.stderr
    not_run = [line.rpartition("::")[2] for line in done.stdout.splitlines() if line.startswith("NOT RUN")]
    assert not_run == [
        "test_power_cut_and_return: it cuts a node's power",
        "test_a_minute_without_api_server: it kills the API server",
        "test_etcd_is_compacted_under_a_watch: it kills the API server",
    ]
