"""EndpointSlices of one Service to peers: pure.

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
    """The state of an endpoint. If a node or an address has several endpoints, the lowest state wins.

    A node is measured even if its agent is not ready. An agent that terminates but still serves is LEAVING: its
    DaemonSet will replace it, and the node stays. An agent that terminates and no longer serves is gone.
    """

    SERVING = 0
    NOT_READY = 1
    LEAVING = 2


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one node, from one slice."""

    node: str
    address: Address
    zone: str
    state: EndpointState


Slice = tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """The members of the cluster: the peers sorted by name, and zone and addresses of this node.

    `own_zone` is "" and `own_addresses` is empty while they are unknown. `warnings` name addresses of several nodes.
    """

    peers: tuple[Peer, ...]
    own_zone: str
    own_addresses: tuple[Address, ...] = ()
    warnings: tuple[str, ...] = ()


class Malformed(ValueError):
    """A part of a slice cannot be read. The text says which part and why."""


def endpoints_of(raw: Mapping[str, Any]) -> tuple[Slice, list[Malformed]]:
    """Return the endpoints of an EndpointSlice (parsed JSON), and an error for each part that cannot be read.

    Endpoints that have no address yet, endpoints that are gone, and slices of host names (FQDN) are skipped without
    an error.
    """
    kind = raw.get("addressType")
    listed = raw.get("endpoints")
    if not isinstance(kind, str):
        return (), [Malformed(f"addressType is {kind!r:.40}, not a text")]
    if kind not in _VERSION_OF or listed is None:
        return (), []
    if not isinstance(listed, list):
        return (), [Malformed("endpoints is not a list")]
    endpoints, errors = [], []
    for position, entry in enumerate(listed):
        try:
            endpoint = _endpoint_of(entry, _VERSION_OF[kind])
        except Malformed as error:
            errors.append(Malformed(f"endpoints[{position}]: {error}"))
        else:
            if endpoint is not None:
                endpoints.append(endpoint)
    return tuple(endpoints), errors


def membership_of(slices: Iterable[Slice], node_name: str) -> Membership:
    """Merge all slices into one peer per node, without `node_name`.

    A node has at most one address per family, IPv4 before IPv6 (slices do not say which family is the cluster's
    primary one). Of several endpoints, the one with the lowest state is used, then the one with the lowest address.
    An endpoint that is in two slices, as while it moves between them, counts once. An address belongs to one node: to
    this node, else to the endpoint with the lowest state, else to the node with the first name.
    """
    claims = sorted(
        (endpoint for members in slices for endpoint in members),
        key=lambda claim: (claim.node != node_name, claim.state, claim.node, claim.address.version, claim.address),
    )
    nodes: dict[str, dict[int, Endpoint]] = {}
    owners: dict[Address, str] = {}
    warnings: list[str] = []
    for claim in claims:
        chosen = nodes.setdefault(claim.node, {})
        version = claim.address.version
        if version in chosen:
            continue
        owner = owners.setdefault(claim.address, claim.node)
        if owner == claim.node:
            chosen[version] = claim
        elif claim.state is not EndpointState.LEAVING:
            warnings.append(f"{claim.address} of {claim.node} belongs to {owner}, and is not probed for {claim.node}")
    own = nodes.pop(node_name, {})
    peers = tuple(_peer_of(node, nodes[node]) for node in sorted(nodes) if nodes[node])
    own_addresses = tuple(own[version].address for version in sorted(own))
    return Membership(peers, _zone_of(list(own.values())), own_addresses, tuple(warnings))


def _peer_of(node: str, by_version: Mapping[int, Endpoint]) -> Peer:
    endpoints = [by_version[version] for version in sorted(by_version)]
    return Peer(node, tuple(endpoint.address for endpoint in endpoints), _zone_of(endpoints))


def _zone_of(endpoints: Sequence[Endpoint]) -> str:
    return next((endpoint.zone for endpoint in endpoints if endpoint.zone), "")


def _endpoint_of(entry: object, version: int) -> Endpoint | None:
    """Return the endpoint, or None if it has no address yet or is gone. Raises Malformed."""
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
    # Interned: a node is in the slices of both families, and a zone is repeated a thousand times.
    return Endpoint(sys.intern(node), address, sys.intern(zone), state)


def _state_of(conditions: object) -> EndpointState | None:
    """Return the state, or None for an endpoint that is gone.

    Defaults follow the API's reference: ready is true, serving equals ready, terminating is false. `ready` is used only
    as that default, because publishNotReadyAddresses makes it always true.
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
    """Return the first address, None if there is none yet. The API gives no meaning to further addresses."""
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
        raise Malformed(f"{text} is not an IPv{version} address, as the slice's addressType says")
    # The API server's own validation rejects the same.
    if address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local:
        raise Malformed(f"{text} cannot be a node's address")
    return address
