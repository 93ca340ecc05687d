"""Fixtures of this folder: kubectl, helm, what they render, and the image."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.image import Image, build
from tests.cluster.rendering import Helm, Kustomize
from tests.programs import tool


@pytest.fixture(scope="session")
def kubectl() -> str:
    """Return the path of kubectl. Debian 12's is too old."""
    return tool("kubectl")


@pytest.fixture(scope="session")
def helm() -> str:
    return tool("helm")


@pytest.fixture(scope="session")
def image() -> Image:
    """Build the Dockerfile of this checkout."""
    return build()


@pytest.fixture(scope="session")
def kustomize(kubectl: str, tmp_path_factory: pytest.TempPathFactory) -> Kustomize:
    return Kustomize(kubectl, tmp_path_factory.mktemp("kustomize"))


@pytest.fixture
def chart(helm: str, tmp_path: Path) -> Helm:
    return Helm(helm, tmp_path)
