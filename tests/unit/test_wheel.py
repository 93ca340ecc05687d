"""The built wheel: the pages are read from it, so it must have their files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[2]


def test_wheel_has_the_files_of_the_pages(tmp_path: Path) -> None:
    """Modules, styles, pictures: page_files.py serves what it finds in these directories."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    directories = ("exposition/page", "exposition/agent_page", "collector/page")
    found = {
        path.relative_to(ROOT).as_posix()
        for directory in directories
        for path in (ROOT / "monlat_ebpf" / directory).iterdir()
    }
    assert len(found) > 20
    with ZipFile(wheel) as archive:
        assert found - set(archive.namelist()) == set()
