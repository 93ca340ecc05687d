"""docs/architecture.svg shows the imports as they are now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.manifest_files import ROOT

PICTURE = ROOT / "docs/architecture.svg"


def draw(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts/draw-architecture"), "--print", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def package_with(directory: Path, importing_room: str, statement: str) -> Path:
    """Return a package in which one room has one import statement."""
    module = directory / "monlat_ebpf" / importing_room / "module.py"
    module.parent.mkdir(parents=True)
    module.write_text(f"{statement}\n")
    return directory / "monlat_ebpf"


def test_committed_picture_is_what_the_command_draws_now() -> None:
    """When this fails, run scripts/draw-architecture, look at the picture and commit it."""
    drawn = draw()
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout == PICTURE.read_text()


def test_picture_has_a_box_for_every_room() -> None:
    """Each package below monlat_ebpf is named in it."""
    names = re.findall(r'class="name"[^>]*>([^<]+)<', PICTURE.read_text())
    assert {path.parent.name for path in (ROOT / "monlat_ebpf").glob("*/__init__.py")} <= set(names)


def test_import_of_a_higher_room_is_an_error(tmp_path: Path) -> None:
    """abi must not know the command line."""
    drawn = draw("--package", str(package_with(tmp_path, "abi", "from monlat_ebpf.cli.ping import ping")))
    assert (drawn.returncode, drawn.stdout, drawn.stderr) == (1, "", "abi imports cli, which is above it\n")


def test_room_without_a_box_is_an_error(tmp_path: Path) -> None:
    """A new room needs a row in the script."""
    drawn = draw("--package", str(package_with(tmp_path, "attic", "import monlat_ebpf.probing.prober")))
    assert (drawn.returncode, drawn.stdout, drawn.stderr) == (1, "", "no box for attic\n")


def test_imports_of_values_are_not_drawn(tmp_path: Path) -> None:
    """A room that imports model and errors alone has no arrow."""
    importing_a_probe = draw(
        "--package", str(package_with(tmp_path / "1", "ping", "import monlat_ebpf.probing.prober"))
    )
    importing_values = draw("--package", str(package_with(tmp_path / "2", "ping", "from monlat_ebpf import model")))
    arrow = 'class="arrow" d="M'
    assert importing_a_probe.stdout.count(arrow) - importing_values.stdout.count(arrow) == 1
