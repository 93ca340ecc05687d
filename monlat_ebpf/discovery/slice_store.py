"""The newest version of each EndpointSlice, whatever order events come in: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from monlat_ebpf.discovery.endpointslices import Malformed, Slice, endpoints_of

_MOST_TOMBSTONES: Final = 1000
"""Deleted slices remembered between two lists. One slice has 100 endpoints, so few are ever deleted."""


_LONGEST_NAME: Final = 253
"""Of an object in Kubernetes; a longer one would fill the log."""


class SliceStore:
    """Slices by name. An event older than the stored version of its slice is ignored.

    Versions are compared as integers, and only within one slice. An event whose version is not a number is always
    applied.
    """

    def __init__(self) -> None:
        self._slices: dict[str, Slice] = {}
        self._versions: dict[str, int] = {}
        self._tombstones: dict[str, int] = {}

    def slices(self) -> list[Slice]:
        """Return all slices."""
        return list(self._slices.values())

    def put_all(self, objects: Iterable[Any]) -> list[Malformed]:
        """Store the objects of a list. Return what cannot be read of them."""
        errors = []
        for raw in objects:
            try:
                errors += self.put(raw)
            except Malformed as error:
                errors.append(error)
        return errors

    def put(self, raw: Any) -> list[Malformed]:
        """Store an added or modified object. Return what cannot be read of it. Raises Malformed without a name."""
        name, version = _identity_of(raw)
        if version is not None:
            if version <= max(self._versions.get(name, -1), self._tombstones.get(name, -1)):
                return []
            self._versions[name] = version
        self._tombstones.pop(name, None)
        self._slices[name], errors = endpoints_of(raw)
        shown = name if name.isprintable() and len(name) <= _LONGEST_NAME else f"{name!r:.{_LONGEST_NAME}}"
        return [Malformed(f"{shown}: {error}") for error in errors]

    def delete(self, raw: Any) -> None:
        """Remove a deleted object. Raises Malformed without a name."""
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
    """Return the resourceVersion of the metadata of an object or a list, "" without one."""
    version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
    return version if isinstance(version, str) else ""


def _identity_of(raw: Any) -> tuple[str, int | None]:
    metadata = raw.get("metadata") if isinstance(raw, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        raise Malformed("an EndpointSlice without a name")
    version = version_of(metadata)
    return name, int(version) if version.isdecimal() and len(version) < 20 else None
