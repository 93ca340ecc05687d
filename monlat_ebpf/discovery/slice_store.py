"""The EndpointSlices as last told, whatever the order in which they are told: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from monlat_ebpf.discovery.endpointslices import Malformed, Slice, endpoints_of

_MOST_TOMBSTONES: Final = 1000
"""Deleted slices remembered between two lists; a slice is deleted when a hundred nodes leave."""


class SliceStore:
    """Slices by name. An event older than what is known of its slice changes nothing.

    Versions are compared as whole numbers, and only those of one slice with each other. One that is
    no number compares with nothing, so its event always counts.
    """

    def __init__(self) -> None:
        self._slices: dict[str, Slice] = {}
        self._versions: dict[str, int] = {}
        self._tombstones: dict[str, int] = {}

    def slices(self) -> list[Slice]:
        """Return all slices that are known."""
        return list(self._slices.values())

    def put_all(self, objects: Iterable[Any]) -> list[Malformed]:
        """Know the objects of a list. Returns what of them cannot be read."""
        trouble = []
        for raw in objects:
            try:
                trouble += self.put(raw)
            except Malformed as error:
                trouble.append(error)
        return trouble

    def put(self, raw: Any) -> list[Malformed]:
        """Know an object that was added or modified. Returns what of it cannot be read; raises Malformed if all."""
        name, version = _identity_of(raw)
        if version is not None:
            if version <= max(self._versions.get(name, -1), self._tombstones.get(name, -1)):
                return []
            self._versions[name] = version
        self._tombstones.pop(name, None)
        self._slices[name], trouble = endpoints_of(raw)
        return [Malformed(f"{name}: {error}") for error in trouble]

    def delete(self, raw: Any) -> None:
        """Forget an object that was deleted. Raises Malformed."""
        name, version = _identity_of(raw)
        if version is not None:
            if version < self._versions.get(name, -1):
                return
            self._tombstones[name] = max(version, self._tombstones.get(name, -1))
            if len(self._tombstones) > _MOST_TOMBSTONES:
                del self._tombstones[next(iter(self._tombstones))]
        self._versions.pop(name, None)
        self._slices.pop(name, None)


def version_of(metadata: object) -> str:
    """Return the resourceVersion of an object's or a list's metadata, "" when there is none."""
    version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
    return version if isinstance(version, str) else ""


def _identity_of(raw: Any) -> tuple[str, int | None]:
    metadata = raw.get("metadata") if isinstance(raw, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        raise Malformed("an EndpointSlice without a name")
    version = version_of(metadata)
    return name, int(version) if version.isdecimal() and len(version) < 20 else None
