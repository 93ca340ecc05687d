"""Build the Dockerfile with podman, on a base image made here from Debian's packages: no image registry is needed.

As a program, `python -m tests.cluster.image ARCHITECTURE`, it builds for another architecture and prints the image's
name. This machine's kernel must then run that architecture's programs (binfmt_misc with qemu-user).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent.parent
BASE: Final = "docker.io/library/debian:trixie-slim"
NAME: Final = "localhost/monlat-test:latest"
STAGE: Final = "localhost/monlat-test:build"
_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"  # Debian's path


@dataclass(frozen=True)
class Image:
    """A built image. `configuration` holds Entrypoint, Env, User and Labels."""

    name: str
    configuration: dict[str, Any]
    size: int  # bytes, unpacked


_LIMITS: Final = ("--ulimit", "nofile=1024:20000", "--ulimit", "nproc=1024:1024")
"""Podman's own limits are higher than what a fresh root may set."""


def podman(*arguments: str) -> str:
    """Run podman and return its output. Raises AssertionError with its messages when it fails."""
    command = ["podman", "--cgroup-manager=cgroupfs", *arguments]
    process = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert process.returncode == 0, f"{' '.join(command)}:\n{process.stdout[-3000:]}\n{process.stderr[-3000:]}"
    return process.stdout.strip()


def build(architecture: str = "") -> Image:
    """Build the Dockerfile of this checkout, for another architecture if one is given.

    Reuse the layers of an earlier build where nothing changed, and remove the replaced ones.
    """
    name, stage, base, platform = NAME, STAGE, BASE, list[str]()
    if architecture:
        name, stage, base = (f"{tag}-{architecture}" for tag in (NAME, STAGE, BASE))
        platform = ["--platform", f"linux/{architecture}", "--build-arg", f"BASE={base}"]
    _have_base(base, architecture)
    before = _ids()
    with _pip_of_this_host() as volumes:
        options = ["--layers", "--isolation=chroot", "--network=host", *_LIMITS, *platform, *volumes]
        podman("build", *options, "--target", "build", "--tag", stage, str(ROOT))  # the tag keeps its layers
        podman("build", *options, "--tag", name, str(ROOT))
    for replaced in before - _ids():
        podman("rmi", "--force", replaced)
    (seen,) = json.loads(podman("image", "inspect", name))
    return Image(name, seen["Config"], seen["Size"])


def _ids() -> set[str]:
    return set(
        podman("image", "ls", "--quiet", "--no-trunc", "--filter", f"reference={NAME.rpartition(':')[0]}").split()
    )


def _have_base(base: str, architecture: str) -> None:
    """Make the base image unless it exists: Debian 13's minimal tree, made by mmdebstrap."""
    if subprocess.run(["podman", "image", "exists", base]).returncode == 0:
        return
    options, imported = ([f"--architectures={architecture}"], [f"--arch={architecture}"]) if architecture else ([], [])
    with tempfile.TemporaryDirectory() as folder:
        tree = f"{folder}/trixie.tar"
        command = ["mmdebstrap", "--variant=minbase", *options, "trixie", tree]
        made = subprocess.run(command, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        podman("import", *imported, tree, base)


@contextmanager
def _pip_of_this_host() -> Iterator[list[str]]:
    """Yield podman's arguments with which pip in the build reaches its registry as pip here does."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    settings = dict(line.partition("=")[::2] for line in listed.stdout.splitlines())
    # ":env:.cert" and "global.cert" are both `cert`; the environment is listed first and wins
    known = {key.rsplit(".", 1)[1]: value.strip("'\"") for key, value in reversed(settings.items())}
    kept: dict[str, str] = {}
    for key in ("index-url", "extra-index-url", "proxy", "trusted-host"):
        reachable = [url for url in known.get(key, "").split() if not url.startswith("file:")]  # not in the build
        if reachable:
            kept[key] = " ".join(reachable)
    with tempfile.TemporaryDirectory() as folder:
        certificates = Path(known.get("cert", _CERTIFICATES))
        if certificates.is_file():
            shutil.copy(certificates, f"{folder}/ca.crt")
            kept["cert"] = "/run/host-pip/ca.crt"
        text = "\n".join(f"{key} = {value}" for key, value in kept.items())
        Path(folder, "pip.conf").write_text(f"[global]\n{text}\n")
        yield ["--volume", f"{folder}:/run/host-pip:ro", "--volume", f"{folder}/pip.conf:/etc/pip.conf:ro"]


if __name__ == "__main__":
    sys.stdout.write(f"{build(sys.argv[1]).name}\n")
