"""Fixtures of many kernel tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monlat_ebpf.testbed.namespace import Namespace
from tests.kernel.reflected import IPV4, IPV6, Family
from tests.kernel.running_demo import Traces


@pytest.fixture(params=[IPV4, IPV6], ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> Family:
    assert isinstance(request.param, Family)
    return request.param


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace("agent") as namespace:
        yield namespace


@pytest.fixture
def traces(tmp_path: Path) -> Traces:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return Traces(temporary)
