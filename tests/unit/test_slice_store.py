"""SliceStore: events may come late, twice, or after a deletion."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from monlat_ebpf.discovery.endpointslices import Malformed, membership_of
from monlat_ebpf.discovery.slice_store import SliceStore


def slice_of(name: str, version: str | None, *nodes: str) -> dict[str, Any]:
    entries = [{"nodeName": node, "addresses": [f"10.0.0.{node}"]} for node in nodes]
    return {"metadata": {"name": name, "resourceVersion": version}, "addressType": "IPv4", "endpoints": entries}


def nodes(store: SliceStore) -> list[str]:
    return [peer.name for peer in membership_of(store.slices(), "").peers]


def test_events_in_any_order_give_the_same_state() -> None:
    """Two versions each of two slices, in all 24 orders: the newest version of each slice is kept."""
    for order in permutations([("one", "11", "1"), ("one", "12", "2"), ("two", "13", "3"), ("two", "14", "4")]):
        store = SliceStore()
        for name, version, node in order:
            store.put(slice_of(name, version, node))
        assert nodes(store) == ["2", "4"], order


def test_duplicate_event_changes_nothing() -> None:
    """The second event has the same version."""
    store = SliceStore()
    for _ in range(2):
        store.put(slice_of("one", "11", "1"))
    assert nodes(store) == ["1"]


def test_versions_compare_as_numbers() -> None:
    """9 is older than 10, although "9" sorts after "10"."""
    store = SliceStore()
    store.put(slice_of("one", "10", "1"))
    store.put(slice_of("one", "9", "2"))
    assert nodes(store) == ["1"]


def test_late_change_does_not_restore_a_deleted_slice() -> None:
    """The deletion has the newer version."""
    store = SliceStore()
    store.put(slice_of("one", "11", "1"))
    store.delete(slice_of("one", "13"))
    store.put(slice_of("one", "12", "2"))
    assert nodes(store) == []


def test_late_deletion_does_not_remove_a_recreated_slice() -> None:
    """The recreated slice has a newer version than the deletion of the old one."""
    store = SliceStore()
    store.put(slice_of("one", "11", "1"))
    store.put(slice_of("one", "13", "2"))
    store.delete(slice_of("one", "12"))
    assert nodes(store) == ["2"]


def test_slice_recreated_after_its_deletion_counts() -> None:
    """A name may be used again."""
    store = SliceStore()
    store.put(slice_of("one", "11", "1"))
    store.delete(slice_of("one", "12"))
    store.put(slice_of("one", "13", "2"))
    assert nodes(store) == ["2"]


def test_deletion_of_an_unknown_slice_does_nothing() -> None:
    """A watch may report slices that the list did not contain."""
    store = SliceStore()
    store.put(slice_of("one", "11", "1"))
    store.delete(slice_of("other", "12"))
    store.delete(slice_of("other", "12"))
    assert nodes(store) == ["1"]


@pytest.mark.parametrize("version", [None, "", "...", "-1", "9" * 40])
def test_event_with_a_non_numeric_version_is_always_applied(version: str | None) -> None:
    """It cannot be compared, so the order of arrival decides."""
    store = SliceStore()
    store.put(slice_of("one", "11", "1"))
    store.put(slice_of("one", version, "2"))
    assert nodes(store) == ["2"]
    store.delete(slice_of("one", version))
    assert nodes(store) == []


def test_memory_for_deleted_slices_is_bounded() -> None:
    """After 1,009 deletions the oldest nine are forgotten; existing slices stay."""
    store = SliceStore()
    store.put(slice_of("alive", "1", "1"))
    for number in range(1009):
        store.delete(slice_of(f"gone-{number}", "5"))
    store.put(slice_of("gone-8", "4", "2"))
    store.put(slice_of("gone-9", "4", "3"))
    assert nodes(store) == ["1", "2"]


@pytest.mark.parametrize(
    "raw", [None, [], {}, {"metadata": None}, {"metadata": {"name": 7}}, {"metadata": {"name": ""}}]
)
def test_object_without_a_name_is_malformed(raw: Any) -> None:
    """In a list it is skipped and reported; as an event it raises."""
    store = SliceStore()
    assert [str(each) for each in store.put_all([raw, slice_of("one", "1", "1")])] == [
        "an EndpointSlice without a name"
    ]
    assert nodes(store) == ["1"]
    with pytest.raises(Malformed):
        store.put(raw)
    with pytest.raises(Malformed):
        store.delete(raw)
