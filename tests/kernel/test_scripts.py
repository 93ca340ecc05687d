"""scripts/setup and scripts/demo on machines that do not fit, and beside another run."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
SETUP_LOCK = Path("/run/monlat-setup.lock")

AS_NOBODY = ["unshare", "--user"]  # without a mapping, root sees itself as 65534


def changed_machine(change: str, command: list[str | Path]) -> list[str | Path]:
    """The command, run where `change` (mounts, in sh) was made for it alone."""
    return ["unshare", "--mount", "sh", "-ec", f'{change}; exec "$@"', "-", *command]


def other_system(tmp_path: Path, os_release: str) -> str:
    file = tmp_path / "os-release"
    file.write_text(os_release)
    return f"mount --bind '{file}' /etc/os-release"


def refusal(command: list[str | Path]) -> str:
    """The one line in which the command says why it does not run."""
    finished = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith("monlat: ")
    assert finished.stderr.count("\n") == 1
    return finished.stderr


@pytest.mark.parametrize("script", [["setup"], ["setup", "--dev"], ["demo", "--json"], ["test"]])
def test_missing_root_is_one_sentence(script: list[str]) -> None:
    """Without root each command says so, and how to fix it."""
    assert "sudo" in refusal([*AS_NOBODY, SCRIPTS / script[0], *script[1:]])


@pytest.mark.parametrize("script", ["setup", "demo"])
def test_a_kernel_without_btf_is_one_sentence(script: str) -> None:
    """Where the kernel shows no BTF, the option that it lacks is named."""
    no_btf = changed_machine("mount -t tmpfs tmpfs /sys/kernel/btf", [SCRIPTS / script])
    assert "CONFIG_DEBUG_INFO_BTF" in refusal(no_btf)


@pytest.mark.parametrize(
    ("os_release", "found"),
    [
        ('ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04 LTS"\n', "Ubuntu 24.04 LTS"),
        ('ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\n', "Debian GNU/Linux 11"),
        ('ID=debian\nPRETTY_NAME="Debian GNU/Linux forky/sid"\n', "Debian GNU/Linux forky/sid"),
        ("", "an unnamed system"),
    ],
)
def test_another_distribution_is_one_sentence(tmp_path: Path, os_release: str, found: str) -> None:
    """What was found is named, and what to install there by hand."""
    said = refusal(changed_machine(other_system(tmp_path, os_release), [SCRIPTS / "setup"]))
    assert found in said
    assert "BCC" in said


def test_an_unknown_argument_is_one_sentence() -> None:
    """A mistyped flag installs nothing."""
    assert "--devel" in refusal([SCRIPTS / "setup", "--devel"])


def test_a_second_setup_does_and_says_nothing() -> None:
    """On a machine that is ready the set-up is silent."""
    subprocess.run([SCRIPTS / "setup", "--dev"], check=True, capture_output=True)
    finished = subprocess.run([SCRIPTS / "setup"], check=True, capture_output=True)
    assert (finished.stdout, finished.stderr) == (b"", b"")


def test_a_setup_waits_for_another() -> None:
    """While another run holds the lock, a set-up says that it waits; then it goes on."""
    with SETUP_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen([SCRIPTS / "setup"], stderr=subprocess.PIPE, text=True) as waiting:
            assert waiting.stderr is not None
            assert waiting.stderr.readline() == "monlat: waiting for another scripts/setup to finish\n"
            assert waiting.poll() is None
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert waiting.wait(timeout=60) == 0
