""".github/workflows/release.yml fits the files that it builds. It cannot run here."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.manifest_files import MANIFESTS, ROOT

TEXT = (ROOT / ".github/workflows/release.yml").read_text()


@pytest.fixture(scope="module")
def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(TEXT)["jobs"]["release"]["steps"]
    return found


def test_image_is_built_for_both_architectures_with_a_bill_of_materials(steps: list[dict[str, Any]]) -> None:
    """Its arguments are those of the Dockerfile."""
    (build,) = [step["with"] for step in steps if str(step.get("uses")).startswith("docker/build-push-action@")]
    assert build["platforms"].split(",") == ["linux/amd64", "linux/arm64"]
    assert build["sbom"] is True
    given = {line.split("=")[0] for line in build["build-args"].splitlines()}
    assert given == {"VERSION", "REVISION"}
    assert given <= set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))


def test_bill_of_materials_is_where_the_image_has_it(steps: list[dict[str, Any]]) -> None:
    """The step that attests copies the file that the Dockerfile writes."""
    copied = re.findall(r"container:(/\S+?)\"", "".join(step.get("run", "") for step in steps))
    assert copied == ["/usr/share/sbom/monlat.cdx.json"]
    assert f"> /tree{copied[0]}" in (ROOT / "Dockerfile").read_text()


def test_image_and_chart_are_signed_by_digest(steps: list[dict[str, Any]]) -> None:
    """A tag could move between push and signature."""
    signed = [line for step in steps for line in step.get("run", "").splitlines() if "cosign" in line]
    assert [re.sub(r"^ *cosign ", "", line) for line in signed] == [
        'sign --yes --recursive "$IMAGE@$DIGEST"',
        'attest --yes --type cyclonedx --predicate sbom.json "$IMAGE@$child"',
        'sign --yes "$CHARTS/monlat@$digest"',
    ]


def test_lines_that_it_looks_for_exist() -> None:
    """The version and the image's name in the chart."""
    about, values = ((MANIFESTS / "chart" / name).read_text() for name in ("Chart.yaml", "values.yaml"))
    assert "appVersion: $version" in TEXT
    assert len(re.findall(r"^appVersion: \S+$", about, re.MULTILINE)) == 1
    assert "s|^  repository: monlat$|" in TEXT
    assert len(re.findall(r"^  repository: monlat$", values, re.MULTILINE)) == 1


def test_job_has_the_permissions_that_it_needs_and_no_others() -> None:
    """Push packages, and sign without a key."""
    workflow = yaml.safe_load(TEXT)
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["release"]["permissions"] == {
        "contents": "read",
        "packages": "write",
        "id-token": "write",
    }


def test_shell_in_it_is_sound(steps: list[dict[str, Any]]) -> None:
    """shellcheck has no complaint, and no expression of GitHub's is pasted into a script."""
    for script in [step["run"] for step in steps if "run" in step]:
        assert "${{" not in script
        done = subprocess.run(
            ["shellcheck", "--shell=bash", "--exclude=SC2154", "-"], input=script, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
