"""Feeds damaged answers of the API server and damaged peers files to the agent's parsers, and judges what they do."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, Final

from monlat_ebpf.config import Timing
from monlat_ebpf.discovery.api_errors import ApiError, Reason
from monlat_ebpf.discovery.endpointslices import Malformed, membership_of
from monlat_ebpf.discovery.kubernetes_api import KubernetesApi
from monlat_ebpf.discovery.peers_file import parse
from monlat_ebpf.discovery.slice_store import SliceStore
from monlat_ebpf.discovery.static import decode
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Family, Peer, why_unfit
from testkit.damage import damaged, damaged_json

PEERS_FILE: Final = b"""\
# nodes
- {name: node1, addresses: [10.0.0.1, "fd00::1"], zone: a}
- name: node2
  addresses:
    - 10.0.0.2
    - "fd00::2"
  zone: b
- {name: "node 3", addresses: [10.0.0.3], zone: }
- {addresses: ['fd00::4'], name: node4}
"""
YAML_JUNK: Final = (
    *(b"\t", b"{", b"}", b"[", b"]", b"'", b'"', b"\n", b"  ", b"*a", b"&a ", b"- ", b"null", b"|", b"? "),
    *(b"!!binary ", b"<<: *a", b"%YAML 9.9\n", b"---\n", b"...\n", b"0x10", b"\xc3\xa9", b"\xff", b"\xef\xbb\xbf"),
    *(b"[" * 3000, b"name: ", b"addresses: ", b"10.0.0.1", b"x" * 3000, b"\xe2\x80\xae"),
    b"!!python/object/apply:os.system [id]",
)


def _slice(name: str, kind: str, addresses: dict[str, str]) -> dict[str, Any]:
    conditions = {"ready": True, "serving": True, "terminating": False}
    return {
        "metadata": {"name": name, "namespace": "monlat", "resourceVersion": "1000", "labels": {"a": "b"}},
        "addressType": kind,
        "endpoints": [
            {"addresses": [address], "nodeName": node, "zone": "a", "conditions": conditions}
            for node, address in addresses.items()
        ],
        "ports": [{"name": "metrics", "port": 10045, "protocol": "TCP"}],
    }


SLICES: Final = [
    _slice("monlat-agents-4", "IPv4", {f"node{n}": f"10.0.0.{n}" for n in range(1, 5)}),
    _slice("monlat-agents-6", "IPv6", {f"node{n}": f"fd00::{n}" for n in range(1, 5)}),
]
LIST: Final = {
    "kind": "EndpointSliceList",
    "metadata": {"resourceVersion": "1001", "continue": ""},
    "items": SLICES,
}
EVENTS: Final = [
    {"type": "MODIFIED", "object": {**SLICES[0], "metadata": {**SLICES[0]["metadata"], "resourceVersion": "1002"}}},
    {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "1003"}}},
    {"type": "DELETED", "object": {**SLICES[1], "metadata": {**SLICES[1]["metadata"], "resourceVersion": "1004"}}},
    {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}},
]


class DamagedServer(KubernetesApi):
    """An API server whose answers are bytes that are given; only its requests are imitated."""

    def __init__(self, chance: Random, answer: bytes = b"") -> None:
        self._timing = Timing()
        self._chance = chance
        self.answer = answer
        self.encoding = ""
        """The Content-Encoding of the answers."""

    def _request(self, longest_silence: float, **query: Any) -> Any:
        return _Response(self.answer, self.encoding, self._chance)


class _Response(BytesIO):
    """Gives its bytes in pieces of any size."""

    def __init__(self, answer: bytes, encoding: str, chance: Random) -> None:
        super().__init__(answer)
        self.headers = {"Content-Encoding": encoding} if encoding else {}
        self._chance = chance

    def read(self, size: int | None = -1, decode_content: bool = True) -> bytes:
        return super().read(self._chance.choice((1, 7, 100, 65536)))

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(self._chance.choice((1, 7, 100, 65536)))


def fuzz_api(rounds: int, chance: Random) -> Counter[str]:
    """Return what came of damaged lists and watches; what must not happen has a name that begins with "error"."""
    seen: Counter[str] = Counter()
    server = DamagedServer(chance)
    for _ in range(rounds):
        try:
            seen.update(_one_api_round(server, chance))
        except Exception as error:  # noqa: BLE001  # what it looks for
            seen[f"error: {error!r:.200}"] += 1
    return seen


def _one_api_round(server: DamagedServer, chance: Random) -> Iterator[str]:
    store = SliceStore()
    server.answer = _answer(LIST, chance)
    server.encoding = chance.choice(("", "gzip"))
    if server.encoding:
        compressed = gzip.compress(server.answer, 1, mtime=0)
        server.answer = damaged(compressed, chance) if chance.randrange(4) == 0 else compressed
    try:
        page = server.list_page()
        malformed = store.put_all(page.items)
        yield "list with malformed parts" if malformed else "list"
        yield from (f"error: {error!r}" for error in malformed if not _is_clear(str(error)))
    except ApiError as error:
        yield _judged("list", error)
    yield from _unfit(store)
    server.answer = b"".join(_answer(event, chance) + b"\n" for event in chance.choices(EVENTS, k=5))
    try:
        for event in server.watch("1001", opened=lambda: None):
            try:
                if event.kind == "DELETED":
                    store.delete(event.object)
                elif event.kind in ("ADDED", "MODIFIED"):
                    store.put(event.object)
                yield f"event {event.kind}" if event.kind in ("ADDED", "MODIFIED", "DELETED") else "event other"
            except Malformed:
                yield "event malformed"
    except ApiError as error:
        yield _judged("watch", error)
    yield from _unfit(store)


def _answer(value: Any, chance: Random) -> bytes:
    text = damaged_json(value, chance)
    return damaged(text, chance) if chance.randrange(4) == 0 else text


def _judged(of: str, error: ApiError) -> str:
    is_known = error.reason is not Reason.INTERNAL and _is_clear(str(error))
    return f"{of} rejected: {error.reason}" if is_known else f"error: {error!r:.200}"


def _is_clear(text: str) -> bool:
    """Return whether a message is one short line."""
    return 0 < len(text) < 500 and "\n" not in text


def _unfit(store: SliceStore) -> Iterator[str]:
    """Yield what is wrong with the peers that would be probed."""
    membership = membership_of(store.slices(), "node1")
    yield from _unfit_peers(membership.peers)
    json.dumps([(peer.name, peer.zone) for peer in membership.peers]).encode()


def _unfit_peers(peers: tuple[Peer, ...]) -> Iterator[str]:
    addresses = [address for peer in peers for address in peer.addresses]
    if len(addresses) != len(set(addresses)):
        yield "error: an address twice"
    if len(peers) != len({peer.name for peer in peers}):
        yield "error: a name twice"
    for peer in peers:
        if why_unfit(peer.name) or (peer.zone and why_unfit(peer.zone)):
            yield f"error: {peer!r} does not fit a label"
        if not peer.addresses or len({Family.of(address) for address in peer.addresses}) != len(peer.addresses):
            yield f"error: {peer!r} has not one address of a family"


def fuzz_peers_file(rounds: int, chance: Random) -> Counter[str]:
    """Return how many damaged files were read or rejected; what must not happen has a name that begins with "error"."""
    seen: Counter[str] = Counter()
    for _ in range(rounds):
        content = damaged(PEERS_FILE, chance, YAML_JUNK)
        try:
            text = decode(content, Path("peers.yaml"))
            listed = parse(text, file="peers.yaml", node_name="node1")
            seen.update(["read", *_unfit_peers(listed.peers)])
        except ConfigError as error:
            is_clear = re.match(r"peers\.yaml:\d+: .", str(error)) and _is_clear(str(error))
            seen["rejected" if is_clear else f"error: {error!r:.200}"] += 1
        except Exception as error:  # noqa: BLE001  # what it looks for
            seen[f"error: {error!r:.200} for {content!r:.100}"] += 1
    return seen
