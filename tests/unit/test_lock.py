"""requirements/, which scripts/lock makes, agrees with pyproject.toml. No network is used."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
NAMES = ("runtime", "build", "dev")
RECORD = re.compile(r"(?P<requirement>\S[^\\\n]*) \\\n(?P<hashes>(?: {4}--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)")
"""A requirement and its hashes, as pip reads them."""

PYTHONS = [
    {"python_version": version[:4], "python_full_version": version, "sys_platform": "linux"}
    for version in ("3.11.2", "3.13.5")  # Debian 12's and 13's
]


def lock_text(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def locked(*names: str) -> list[Requirement]:
    return [Requirement(found["requirement"]) for name in names for found in RECORD.finditer(lock_text(name))]


def direct_dependencies() -> list[tuple[str, tuple[str, ...]]]:
    """Return what pyproject.toml asks for, each with the files that pip reads for it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    runtime = project["project"]["dependencies"] + extras["kubernetes"]
    dev = [text for text in extras["dev"] if not text.startswith("monlat-ebpf[")]
    return [
        *((text, ("runtime",)) for text in runtime),
        *((text, ("build",)) for text in project["build-system"]["requires"]),
        *((text, NAMES) for text in dev),
    ]


@pytest.mark.parametrize("name", [*NAMES, "axe", "cluster-tools"])
def test_every_line_is_pinned_and_hashed(name: str) -> None:
    """Nothing but comments, exact versions and their SHA-256 hashes: no option, no address of a registry."""
    rest = RECORD.sub("", lock_text(name))
    assert [line for line in rest.splitlines() if not line.startswith("#")] == []
    assert "://" not in lock_text(name)
    for requirement in locked(name):
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement


@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: str(python["python_version"]))
@pytest.mark.parametrize(("text", "files"), direct_dependencies())
def test_direct_dependency_is_locked_within_its_bounds(
    python: dict[str, str], text: str, files: tuple[str, ...]
) -> None:
    """On each Python there is one version, and it is one that pyproject.toml allows. Renew: scripts/lock."""
    wanted = Requirement(text)
    versions = {
        str(pin.specifier).removeprefix("==")
        for pin in locked(*files)
        if canonicalize_name(pin.name) == canonicalize_name(wanted.name)
        and (pin.marker is None or pin.marker.evaluate(python))
    }
    assert len(versions) == 1, f"run scripts/lock: {wanted.name} has the versions {versions or 'none'}"
    assert Version(versions.pop()) in wanted.specifier, "run scripts/lock"


def test_files_of_the_lock_agree() -> None:
    """A package that stands in two files has the same version in both, as pip is given them together."""
    versions: dict[tuple[str, str], set[str]] = {}
    for pin in locked(*NAMES):
        versions.setdefault((pin.name, str(pin.marker)), set()).add(str(pin.specifier))
    assert {key: found for key, found in versions.items() if len(found) > 1} == {}


def test_no_dependency_is_named_twice() -> None:
    """Each package stands once among the dependencies of pyproject.toml."""
    names = [canonicalize_name(Requirement(text).name) for text, _ in direct_dependencies()]
    assert sorted(set(names)) == sorted(names)
