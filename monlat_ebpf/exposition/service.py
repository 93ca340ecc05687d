"""What all connections of an HTTP server share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from monlat_ebpf.exposition.clients import Clients
from monlat_ebpf.exposition.messages import Limits, Route
from monlat_ebpf.exposition.passwords import Passwords
from monlat_ebpf.exposition.rendering import Renderer
from monlat_ebpf.exposition.security import Security
from monlat_ebpf.exposition.turns import Turns


@dataclass(frozen=True, slots=True)
class Service:
    """What answers, whom, and within which limits. `report` gets what a route raised."""

    routes: Mapping[str, Route]
    limits: Limits
    renderer: Renderer
    report: Callable[[Exception], None]
    security: Callable[[], Security]
    passwords: Passwords
    clients: Clients
    turns: Turns
