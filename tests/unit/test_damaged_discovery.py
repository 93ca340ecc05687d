"""Damaged answers of the API server and damaged peers files: bench/fuzz_discovery does the same 100,000 times."""

from __future__ import annotations

from random import Random

import pytest

from monlat_ebpf.discovery.api_errors import ApiError, Reason
from monlat_ebpf.discovery.kubernetes_api import KubernetesApi
from monlat_ebpf.discovery.peers_file import parse
from monlat_ebpf.discovery.slice_store import SliceStore
from monlat_ebpf.errors import ConfigError
from testkit.descriptors import open_descriptors
from testkit.fuzz_discovery import DamagedServer, fuzz_api, fuzz_peers_file

ROUNDS = 997


def test_damaged_answers_of_the_api_server_are_used_or_rejected() -> None:
    """Each error has a reason other than a defect of monlat, and what is used can be probed; no descriptor is left."""
    opened = open_descriptors()
    seen = fuzz_api(ROUNDS, Random(1))
    assert [name for name in seen if name.startswith("error")] == []
    assert seen["list"] + seen["list with malformed parts"] > ROUNDS / 3  # the damage leaves something to be used
    assert seen["event malformed"] > 0
    assert open_descriptors() == opened


def test_damaged_peers_files_are_used_or_rejected() -> None:
    """Each error has file and line."""
    seen = fuzz_peers_file(ROUNDS, Random(1))
    assert [name for name in seen if name.startswith("error")] == []
    assert min(seen["read"], seen["rejected"]) > ROUNDS / 10


def test_error_for_a_text_of_several_lines_is_one_line() -> None:
    """A block of text where a list belongs is no example of what to write."""
    with pytest.raises(ConfigError) as raised:
        parse("- name: node2\n  addresses: |\n    - 10.0.0.2\n", file="peers.yaml")
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith("write [10.0.0.2]")


@pytest.mark.parametrize("name", ["x" * 5000, "a\nb"])
def test_error_of_a_slice_with_an_odd_name_is_one_short_line(name: str) -> None:
    """No answer of the API server fills the log."""
    (error,) = SliceStore().put({"metadata": {"name": name}, "addressType": "IPv4", "endpoints": [7]})
    assert len(str(error)) < 300
    assert "\n" not in str(error)


def test_same_seed_is_the_same_damage() -> None:
    """A failure can be repeated."""
    assert fuzz_api(97, Random(5)) == fuzz_api(97, Random(5))
    assert fuzz_peers_file(97, Random(5)) == fuzz_peers_file(97, Random(5))


@pytest.mark.parametrize("answer", [b"[" * 99999, b'{"items": ' + b"[" * 99999])
def test_deeply_nested_answer_is_an_error_of_the_stream(answer: bytes) -> None:
    """Python's parser ends at its own depth, with another exception than for bad JSON."""
    server: KubernetesApi = DamagedServer(Random(1), answer)
    with pytest.raises(ApiError, match="not JSON") as raised:
        SliceStore().put_all(server.list_page().items)
    assert raised.value.reason is Reason.STREAM
    with pytest.raises(ApiError, match="not JSON") as raised:
        list(DamagedServer(Random(1), answer + b"\n").watch("1", opened=lambda: None))
    assert raised.value.reason is Reason.STREAM
