"""The peers file: a YAML list of `{name: node2, addresses: [10.0.0.2, "fd00::2"], zone: a}`. Pure.

Every error is a ConfigError that begins with `file:line:` and names the field. All nodes can share one file: the entry
of this node itself is checked like the others and then omitted.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from typing import Final, NoReturn

from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Address, Family, Peer, why_unfit
from monlat_ebpf.yaml_items import Items, Node, Pairs, Scalar, kind_of, read_items

_FIELDS: Final = ("name", "addresses", "zone")
_LIMITED_BROADCAST: Final = ip_address("255.255.255.255")
_SHOWN: Final = 60
"""The most characters of a wrong value that a message quotes."""


@dataclass(frozen=True, slots=True)
class PeerList:
    """The content of a peers file: the peers in its order, and zone and addresses of this node's own entry.

    `warnings` name the addresses that several nodes have, with file and line.
    """

    peers: tuple[Peer, ...]
    own_zone: str = ""
    own_addresses: tuple[Address, ...] = ()
    warnings: tuple[str, ...] = ()


def parse(text: str, *, file: str, node_name: str = "") -> PeerList:
    """Return the peers in `text`, without the one named `node_name`. An empty list is legal.

    `file` is the file's name for messages. Of nodes that share an address, the first by name has it.
    Raises ConfigError for a text that is not such a list, and for a duplicate name.
    """
    reader = _EntryReader(file)
    peers: list[Peer] = []
    own: Peer | None = None
    for node in read_items(text, file=file):
        peer = reader.read(node)
        if peer.name == node_name:
            own = peer
        else:
            peers.append(peer)
    warnings = reader.warnings()
    kept = (replace(each, addresses=tuple(filter(reader.is_owner(each.name), each.addresses))) for each in peers)
    found = tuple(each for each in kept if each.addresses)
    return PeerList(found, own.zone if own else "", own.addresses if own else (), warnings)


class _EntryReader:
    """Reads entries one after the other, and remembers their names and addresses."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._line_of_name: dict[str, int] = {}
        self._owners_of_address: dict[Address, dict[str, int]] = {}  # names, and the line of each

    def refuse(self, line: int, reason: str) -> NoReturn:
        raise ConfigError(f"{self._file}:{line}: {reason}")

    def read(self, entry: Node) -> Peer:
        fields = self._fields(entry)
        name = self._name(entry, fields)
        return Peer(name, self._addresses(entry, fields, name), self._zone(fields))

    def _fields(self, entry: Node) -> Mapping[str, Node]:
        if not isinstance(entry, Pairs):
            self.refuse(
                entry.line,
                f"expected a mapping with name and addresses, found {kind_of(entry)}; "
                "write for example `- {name: node2, addresses: [10.0.0.2]}`",
            )
        fields: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key, value in entry.pairs:
            if not isinstance(key, Scalar) or key.text not in _FIELDS:
                self.refuse(key.line, _unknown_field(key))
            if key.text in fields:
                self.refuse(key.line, f"{key.text}: duplicate field, first on line {lines[key.text]}; keep one")
            fields[key.text], lines[key.text] = value, key.line
        return fields

    def _name(self, entry: Node, fields: Mapping[str, Node]) -> str:
        node = fields.get("name")
        if node is None:
            self.refuse(entry.line, "name: missing; add the node's name")
        if not isinstance(node, Scalar):
            self.refuse(node.line, f"name: expected a text, found {kind_of(node)}")
        name = node.text or ""
        if reason := why_unfit(name):
            self.refuse(node.line, f"name: {_shown(name)} {reason}; give the node's name")
        if name in self._line_of_name:
            self.refuse(
                node.line,
                f"name: {_shown(name)} is also on line {self._line_of_name[name]}; keep one entry per node",
            )
        self._line_of_name[name] = node.line
        return name

    def _zone(self, fields: Mapping[str, Node]) -> str:
        node = fields.get("zone")
        if node is None:
            return ""
        if not isinstance(node, Scalar):
            self.refuse(node.line, f"zone: expected a text, found {kind_of(node)}")
        zone = node.text or ""
        if zone and (reason := why_unfit(zone)):
            self.refuse(node.line, f"zone: {_shown(zone)} {reason}; give a short name or leave it out")
        return zone

    def _addresses(self, entry: Node, fields: Mapping[str, Node], name: str) -> tuple[Address, ...]:
        node = fields.get("addresses")
        if node is None:
            self.refuse(entry.line, f"addresses: missing for {_shown(name)}; add a list, as in [10.0.0.2]")
        if not isinstance(node, Items):
            example = (node.text or "") if isinstance(node, Scalar) else ""
            example = example if example and example.isprintable() else "10.0.0.2"  # not a block of several lines
            self.refuse(node.line, f"addresses: expected a list, found {kind_of(node)}; write [{example[:_SHOWN]}]")
        if not node.items:
            self.refuse(node.line, f"addresses: empty for {_shown(name)}; add one address, or one of each family")
        by_family: dict[Family, Address] = {}
        for item in node.items:
            address = self._address(item)
            family = Family.of(address)
            if family in by_family:
                self.refuse(
                    item.line,
                    f"addresses: {by_family[family]} and {address} are both {family}; "
                    "keep one of each family, the one to be measured",
                )
            self._owners_of_address.setdefault(address, {})[name] = item.line
            by_family[family] = address
        return tuple(by_family.values())

    def _address(self, item: Node) -> Address:
        if not isinstance(item, Scalar) or item.text is None:
            self.refuse(
                item.line,
                f'addresses: expected an address, found {kind_of(item)}; put IPv6 in quotes, as in "fd00::2"',
            )
        try:
            address = ip_address(item.text)
        except ValueError:
            self.refuse(item.line, f"addresses: {_shown(item.text)} {_why_no_address(item.text)}")
        if reason := _why_unusable(address):
            self.refuse(item.line, f"addresses: {_shown(item.text)} {reason}")
        return address

    def is_owner(self, name: str) -> Callable[[Address], bool]:
        """Return whether an address belongs to the node `name`: of several nodes, to the first by name."""
        return lambda address: min(self._owners_of_address[address]) == name

    def warnings(self) -> tuple[str, ...]:
        """Return a text for each address of a node that belongs to another one."""
        return tuple(
            f"{self._file}:{line}: addresses: {address} of {_shown(name)} belongs to {_shown(min(owners))} on line "
            f"{owners[min(owners)]}, and is not probed for {_shown(name)}; give each node its own address"
            for address, owners in self._owners_of_address.items()
            for name, line in owners.items()
            if name != min(owners)
        )


def _unknown_field(key: Node) -> str:
    if not isinstance(key, Scalar) or key.text is None:
        return f"expected a field's name, found {kind_of(key)}; the fields are {', '.join(_FIELDS)}"
    near = difflib.get_close_matches(key.text.lower()[:_SHOWN], _FIELDS, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(_FIELDS)}"
    return f"{key.text[:_SHOWN]!r}: unknown field; {remedy}"


def _why_no_address(text: str) -> str:
    """Return what `text` is instead of an address, and how to fix it."""
    if "/" in text:
        return "is a network; give the node's address without the prefix length"
    if re.fullmatch(r"\[.*\](:\d+)?|\d+(\.\d+){3}:\d+", text, re.ASCII):
        return "has brackets or a port; give the address alone"
    if re.fullmatch(r"(?=.*[a-z])[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", text, re.ASCII | re.IGNORECASE):
        return "is a host name, and names are not resolved; give the address"
    return 'is not an IPv4 or IPv6 address; write for example 10.0.0.2 or "fd00::2"'


def _why_unusable(address: Address) -> str | None:
    """Return why `address` cannot be probed, or None if it can. Loopback is allowed, for tests."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None or address.is_link_local:
            return "is link-local; give an address that all nodes can reach"
        if address.ipv4_mapped is not None:
            return f"is an IPv4 address written as IPv6; write {address.ipv4_mapped}"
    if address.is_multicast or address == _LIMITED_BROADCAST:
        return "is a multicast or broadcast address; give the node's own"
    if address.is_unspecified:
        return "is the unspecified address; give the node's own"
    return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
