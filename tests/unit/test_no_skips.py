"""With MONLAT_NO_SKIPS=1, a test run that skips a test fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


def run_pytest(directory: Path, test_file: str, no_skips: str) -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text(CONFTEST.read_text())
    (directory / "test_it.py").write_text(f"import pytest\n{test_file}")
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-ra",
            "--rootdir",
            directory,
            "-p",
            "no:cacheprovider",
            "-p",
            "no:kmock",
            directory,
        ],
        env={**os.environ, "MONLAT_NO_SKIPS": no_skips},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("test_file", "closing"),
    [
        ("@pytest.mark.skip('no veth')\ndef test_a(): pass\n", "1 error"),
        ("def test_a(): pytest.skip('no veth')\n", "1 failed"),
        ("@pytest.fixture\ndef bed(): pytest.skip('no veth')\ndef test_a(bed): pass\n", "1 error"),
        ("@pytest.mark.xfail(reason='no veth')\ndef test_a(): assert False\n", "1 failed"),
        ("pytest.skip('no veth', allow_module_level=True)\n", "1 error"),
    ],
)
def test_skips_and_expected_failures_fail_with_their_reason(tmp_path: Path, test_file: str, closing: str) -> None:
    """Skips by mark, call, fixture and module, and expected failures, fail with the reason in the summary."""
    finished = run_pytest(tmp_path, test_file, no_skips="1")
    assert finished.returncode != 0
    assert closing in finished.stdout.splitlines()[-1]
    assert "MONLAT_NO_SKIPS=1 allows none: " in finished.stdout
    assert "no veth" in finished.stdout


def test_a_skip_is_allowed_without_the_variable(tmp_path: Path) -> None:
    """A developer's own run may skip."""
    finished = run_pytest(tmp_path, "def test_a(): pytest.skip('no veth')\n", no_skips="0")
    assert finished.returncode == 0
    assert "1 skipped" in finished.stdout.splitlines()[-1]


def test_a_passing_test_passes(tmp_path: Path) -> None:
    """The variable changes nothing for a test that runs."""
    finished = run_pytest(tmp_path, "def test_a(): pass\n", no_skips="1")
    assert finished.returncode == 0
    assert "1 passed" in finished.stdout.splitlines()[-1]
