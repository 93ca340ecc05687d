"""scripts/setup and scripts/demo on machines that cannot run monlat, and beside another run."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
SETUP_LOCK = Path("/run/monlat-setup.lock")

AS_NOBODY = ["unshare", "--user"]  # without a mapping, root sees itself as 65534


def changed_machine(change: str, command: list[str | Path]) -> list[str | Path]:
    """Return a command that runs `command` in a mount namespace where `change` (mounts, in sh) was made."""
    return ["unshare", "--mount", "sh", "-ec", f'{change}; exec "$@"', "-", *command]


def other_system(tmp_path: Path, os_release: str) -> str:
    file = tmp_path / "os-release"
    file.write_text(os_release)
    return f"mount --bind '{file}' /etc/os-release"


def refusal(command: list[str | Path]) -> str:
    """Run a command that must fail with one line on stderr; return that line."""
    finished = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith("monlat: ")
    assert finished.stderr.count("\n") == 1
    return finished.stderr


@pytest.mark.parametrize("script", [["setup"], ["setup", "--dev"], ["demo", "--json"], ["test"]])
def test_without_root_one_sentence_says_so(script: list[str]) -> None:
    """Each command says that root is missing, and how to get it."""
    assert "sudo" in refusal([*AS_NOBODY, SCRIPTS / script[0], *script[1:]])


@pytest.mark.parametrize("script", ["setup", "demo"])
def test_on_a_kernel_without_btf_one_sentence_names_the_option(script: str) -> None:
    """The sentence names the kernel option that is missing."""
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
def test_on_another_distribution_one_sentence_says_what_to_install(tmp_path: Path, os_release: str, found: str) -> None:
    """The sentence names the distribution, and what to install by hand."""
    message = refusal(changed_machine(other_system(tmp_path, os_release), [SCRIPTS / "setup"]))
    assert found in message
    assert "BCC" in message


def test_an_unknown_argument_is_an_error() -> None:
    """A mistyped flag installs nothing."""
    assert "--devel" in refusal([SCRIPTS / "setup", "--devel"])


def test_a_second_setup_prints_nothing() -> None:
    """On a machine that is ready, the set-up changes nothing."""
    subprocess.run([SCRIPTS / "setup", "--dev"], check=True, capture_output=True)
    finished = subprocess.run([SCRIPTS / "setup"], check=True, capture_output=True)
    assert (finished.stdout, finished.stderr) == (b"", b"")


def test_a_setup_waits_for_another() -> None:
    """While another run holds the lock, a set-up prints that it waits; it continues when the lock is free."""
    with SETUP_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen([SCRIPTS / "setup"], stderr=subprocess.PIPE, text=True) as waiting:
            assert waiting.stderr is not None
            assert waiting.stderr.readline() == "monlat: waiting for another scripts/setup to finish\n"
            assert waiting.poll() is None
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert waiting.wait(timeout=60) == 0
