"""From the EndpointSlices of one Service to the peers: pure.

The format is discovery.k8s.io/v1: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address
from typing import Any, Final

from monlat_ebpf.model import Address, Peer, why_unfit

_VERSION_OF: Final = {"IPv4": 4, "IPv6": 6}


class EndpointState(IntEnum):
    """How good an endpoint's claim is to be its node's address; the lowest wins.

    An agent that is not ready is still on a node to measure. A terminating one that still serves is about to be
    replaced by its DaemonSet, and the node stays. A terminating one that no longer serves is gone.
    """

    SERVING = 0
    NOT_READY = 1
    LEAVING = 2


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one node, as one slice tells it."""

    node: str
    address: Address
    zone: str
    state: EndpointState


Slice = tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """Who is in the cluster: the peers sorted by name, and the zone of this node, "" while no slice tells it."""

    peers: tuple[Peer, ...]
    own_zone: str


class Malformed(ValueError):
    """A part of a slice that cannot be read; the text says which and why."""


def endpoints_of(raw: Mapping[str, Any]) -> tuple[Slice, list[Malformed]]:
    """Return the endpoints of an EndpointSlice given as JSON, and what of it had to be left out.

    Endpoints without an address yet, those that are gone, and slices of host names (FQDN) are left out as a
    matter of course and not reported.
    """
    kind = raw.get("addressType")
    listed = raw.get("endpoints")
    if not isinstance(kind, str):
        return (), [Malformed(f"addressType is {kind!r:.40}, not a text")]
    if kind not in _VERSION_OF or listed is None:
        return (), []
    if not isinstance(listed, list):
        return (), [Malformed("endpoints is not a list")]
    endpoints, trouble = [], []
    for position, entry in enumerate(listed):
        try:
            endpoint = _endpoint_of(entry, _VERSION_OF[kind])
        except Malformed as error:
            trouble.append(Malformed(f"endpoints[{position}]: {error}"))
        else:
            if endpoint is not None:
                endpoints.append(endpoint)
    return tuple(endpoints), trouble


def membership_of(slices: Iterable[Slice], node_name: str) -> Membership:
    """Merge all slices into one peer for each node but `node_name`.

    A node has one address of each family, IPv4 before IPv6 (slices do not tell the cluster's primary family). Of
    several endpoints the best state wins, then the lowest address; what slices repeat, as they do
    while endpoints move between them, counts once. An address belongs to one node: this one, or the best state,
    or the first name.
    """
    claims = sorted(
        (endpoint for members in slices for endpoint in members),
        key=lambda claim: (claim.node != node_name, claim.state, claim.node, claim.address.version, claim.address),
    )
    nodes: dict[str, dict[int, Endpoint]] = {}
    owners: dict[Address, str] = {}
    for claim in claims:
        chosen = nodes.setdefault(claim.node, {})
        version = claim.address.version
        if version not in chosen and owners.setdefault(claim.address, claim.node) == claim.node:
            chosen[version] = claim
    own = nodes.pop(node_name, {})
    peers = tuple(_peer_of(node, nodes[node]) for node in sorted(nodes) if nodes[node])
    return Membership(peers, _zone_of(list(own.values())))


def _peer_of(node: str, by_version: Mapping[int, Endpoint]) -> Peer:
    endpoints = [by_version[version] for version in sorted(by_version)]
    return Peer(node, tuple(endpoint.address for endpoint in endpoints), _zone_of(endpoints))


def _zone_of(endpoints: Sequence[Endpoint]) -> str:
    return next((endpoint.zone for endpoint in endpoints if endpoint.zone), "")


def _endpoint_of(entry: object, version: int) -> Endpoint | None:
    """Return the endpoint, or None when it has no address yet or is gone. Raises Malformed."""
    if not isinstance(entry, dict):
        raise Malformed("is not an object")
    state = _state_of(entry.get("conditions"))
    address = _address_of(entry.get("addresses"), version)
    if state is None or address is None:
        return None
    node, zone = entry.get("nodeName"), entry.get("zone") or ""
    if not isinstance(node, str):
        raise Malformed(f"nodeName is {node!r:.40}, not a name")
    if reason := why_unfit(node):
        raise Malformed(f"nodeName {node!r:.40} {reason}")
    if not isinstance(zone, str) or (zone and why_unfit(zone)):
        raise Malformed(f"zone {zone!r:.40} cannot be a label")
    # Interned: each node is told twice, in both families, and each zone a thousand times.
    return Endpoint(sys.intern(node), address, sys.intern(zone), state)


def _state_of(conditions: object) -> EndpointState | None:
    """Return the state, or None for an endpoint that is gone.

    What is missing means ready, serving as ready is, and not terminating, as the API's reference says. `ready` itself
    says nothing here: publishNotReadyAddresses makes it always true.
    """
    if conditions is None:
        return EndpointState.SERVING
    if not isinstance(conditions, dict):
        raise Malformed("conditions is not an object")
    serving = conditions.get("serving")
    if serving is None:
        serving = conditions.get("ready") is not False
    if conditions.get("terminating"):
        return EndpointState.LEAVING if serving else None
    return EndpointState.SERVING if serving else EndpointState.NOT_READY


def _address_of(addresses: object, version: int) -> Address | None:
    """Return the first address; the API gives no meaning to any further one. None when there is none yet."""
    if not addresses:
        return None
    if not isinstance(addresses, list):
        raise Malformed("addresses is not a list")
    text = addresses[0]
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise Malformed(f"{text!r:.40} is not an address")
    try:
        address = ip_address(text)
    except ValueError:
        raise Malformed(f"{text!r:.60} is not an address") from None
    if address.version != version:
        raise Malformed(f"{text} is not of the slice's family, IPv{version}")
    # The same that the API server's own validation refuses.
    if address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local:
        raise Malformed(f"{text} is no node's address")
    return address
