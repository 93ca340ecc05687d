"""The chart: `helm install`, `helm test`, `helm uninstall`, as docs/installing.md says."""

from __future__ import annotations

import pytest

from tests.real_cluster.installing import RELEASE, Installer

pytestmark = pytest.mark.timeout(600)


def test_chart_installs_passes_its_test_and_leaves_nothing(empty: Installer, nodes: list[str]) -> None:
    """The agents measure every pair; the release's own test passes; the namespace goes with the release."""
    agents = empty.helm_install()
    agents.wait_complete(nodes)
    assert "Phase:          Succeeded" in empty.helm("test", *RELEASE, "--timeout", "4m")
    empty.helm("uninstall", *RELEASE, "--wait", "--timeout", "4m")
    empty.remove()
    assert not empty.api.exists("/api/v1/namespaces/monlat")
    assert not empty.api.exists("/apis/scheduling.k8s.io/v1/priorityclasses/monlat")
