"""The import contracts of pyproject.toml hold for the package, and fail when an import goes against them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = "A room imports only rooms below it"
FRONT_DOORS = "Each third-party library has one front door"
NO_TESTS = "Nothing of the tests is in the package"


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package and its contracts, for tests that add an import."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "monlat_ebpf", tmp_path / "monlat_ebpf", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_contracts_hold() -> None:
    """The package as it is keeps every contract."""
    finished = lint_imports(ROOT)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("module", "bad_import", "contract"),
    [
        ("errors", "import monlat_ebpf.model", LAYERS),
        ("model", "import monlat_ebpf.host.wall_clock", LAYERS),
        ("abi/layout", "import monlat_ebpf.sources.choice", LAYERS),
        ("host/addresses", "import monlat_ebpf.abi.layout", LAYERS),
        ("sources/choice", "import monlat_ebpf.probing.prober", LAYERS),
        ("probing/prober", "import monlat_ebpf.exposition.text", LAYERS),
        ("exposition/text", "import monlat_ebpf.discovery.static", LAYERS),
        ("discovery/static", "import monlat_ebpf.exposition.text", LAYERS),
        ("testbed/links", "import monlat_ebpf.ping.pinger", LAYERS),
        ("ping/pinger", "import monlat_ebpf.agent", LAYERS),
        ("agent", "import monlat_ebpf.cli.main", LAYERS),
        ("cli/main", "import bcc", FRONT_DOORS),
        ("cli/main", "import kubernetes", FRONT_DOORS),
        ("probing/prober", "import prometheus_client", FRONT_DOORS),
        ("ping/pinger", "import icmplib", FRONT_DOORS),
        ("ping/pinger", "import pyroute2", FRONT_DOORS),
        ("agent", "import yaml", FRONT_DOORS),
        ("testbed/links", "import testkit.packets", NO_TESTS),
        ("agent", "import tests.unit.fake_source", NO_TESTS),
    ],
)
def test_import_against_a_contract_fails(copy: Path, module: str, bad_import: str, contract: str) -> None:
    """One import that goes against a contract breaks it; the report names the module. Lazy imports count."""
    file = copy / "monlat_ebpf" / f"{module}.py"
    file.write_text(f"{file.read_text()}\n\ndef _late() -> None:\n    {bad_import}\n")
    finished = lint_imports(copy)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert f"{contract} BROKEN" in finished.stdout
    assert f"monlat_ebpf.{module.replace('/', '.')} -> {bad_import.split()[1].partition('.')[0]}" in finished.stdout


def test_room_without_a_layer_fails(copy: Path) -> None:
    """A new room must be given a layer."""
    (copy / "monlat_ebpf/attic.py").write_text('"""A new room."""\n')
    finished = lint_imports(copy)
    assert finished.returncode == 1
    assert "attic" in finished.stdout


def test_docstring_names_every_room() -> None:
    """The package's docstring and its directory list the same rooms."""
    package = ROOT / "monlat_ebpf"
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    text = (package / "__init__.py").read_text()
    assert [room for room in sorted(rooms - {"__init__", "__main__"}) if f"`{room}`" not in text] == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("monlat_ebpf.agent", {"bcc", "kubernetes", "icmplib", "pyroute2", "rich"}),
        ("monlat_ebpf.sources.choice", {"bcc", "monlat_ebpf.sources.socket", "monlat_ebpf.sources.tracepoint"}),
        ("monlat_ebpf.discovery.static", {"monlat_ebpf.discovery.kubernetes"}),
        ("monlat_ebpf.cli.main", {"bcc", "kubernetes", "icmplib", "prometheus_client", "pyroute2", "rich", "yaml"}),
    ],
)
def test_large_libraries_are_imported_when_first_used(module: str, absent: set[str]) -> None:
    """Importing the module does not load them: that costs memory and start time where they are not used."""
    program = f"import sys, {module}; print(*sorted(set(sys.modules) & {absent!r}))"
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert finished.stdout.split() == []
