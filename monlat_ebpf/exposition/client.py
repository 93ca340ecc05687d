"""Ask an agent over HTTP. Every command that shows measurements gets them here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlencode

from monlat_ebpf.config import DEFAULT_PORT
from monlat_ebpf.errors import AgentUnreachable, UnknownPeer
from monlat_ebpf.exposition.api import NetworkRttDocument, PairDocument, PeersDocument, RttDocument
from monlat_ebpf.exposition.client_access import ClientAccess
from monlat_ebpf.exposition.json_client import NoAnswer, checked_url, get_json
from monlat_ebpf.exposition.peer_detail import PeerDocument

DEFAULT_URLS: Final = (f"http://[::1]:{DEFAULT_PORT}", f"http://127.0.0.1:{DEFAULT_PORT}")
"""The URLs of this node's agent. The second one is for a host without IPv6."""

_PATH: Final = "/api/v1/peers"
_NAMED_PEERS: Final = 5  # in the error about an unknown peer

_OPEN: Final = ClientAccess()

Answer = TypeVar("Answer")


def ask_this_node(timeout_seconds: float = 5.0, access: ClientAccess = _OPEN) -> PeersDocument:
    """Return the answer of the agent on this node. Raises AgentUnreachable."""
    return _first_answer(lambda url: ask(url, timeout_seconds, access=access))


def ask_about(peer: str, url: str | None, timeout_seconds: float = 5.0, access: ClientAccess = _OPEN) -> PeerDocument:
    """Return the measurements of one peer, with its last probes, by the agent at `url` (None: on this node).

    Raises as `ask` does, and UnknownPeer.
    """
    if url is None:
        return _first_answer(lambda url: ask_about(peer, url, timeout_seconds, access))
    answer = cast(PeerDocument, ask(url, timeout_seconds, f"?{urlencode({'peer': peer})}", access))
    if not all("probes" in pair for pair in answer["pairs"]):
        raise _unreachable(url, f"its answer to {_PATH} lacks probes (is it another version of monlat?)")
    if not answer["pairs"]:
        known = list(dict.fromkeys(pair["to"] for pair in ask(url, timeout_seconds, access=access)["pairs"]))
        some = ", ".join(known[:_NAMED_PEERS]) + (", …" if len(known) > _NAMED_PEERS else "")
        raise UnknownPeer(f"node {answer['node']} does not measure a peer {peer!r}; it measures {some or 'none'}")
    return answer


def _first_answer(attempt: Callable[[str], Answer]) -> Answer:
    failures = []
    for url in DEFAULT_URLS:
        try:
            return attempt(url)
        except AgentUnreachable as error:
            failures.append(error)
    raise failures[0]


def ask(url: str, timeout_seconds: float = 5.0, query: str = "", access: ClientAccess = _OPEN) -> PeersDocument:
    """Return the answer of the agent at `url`, waiting at most `timeout_seconds` for each part of it.

    Use no proxy, whatever the environment says: a proxy runs on another node. Raises ConfigError if `url` is
    not a URL, AgentUnreachable if no agent answers.
    """
    base = checked_url(url, "an agent", DEFAULT_URLS[0])
    try:
        document = get_json(base, _PATH + query, timeout_seconds, access).document
    except NoAnswer as error:
        raise _unreachable(base, str(error)) from error
    if problem := _problem(document):
        raise _unreachable(base, f"its answer to {_PATH} {problem}")
    return cast(PeersDocument, document)


def _problem(answer: Any) -> str:
    """Return what `answer` lacks of a PeersDocument, as the end of a sentence, or "". Other keys are allowed."""
    if not isinstance(answer, dict):
        return "is not a JSON object"
    missing = _missing(answer, PeersDocument.__required_keys__, "")
    if not missing and not isinstance(answer["pairs"], list):
        missing = "a list in pairs"
    for index, pair in enumerate([] if missing else answer["pairs"]):
        path = f"pairs[{index}]."
        missing = (
            _missing(pair, PairDocument.__required_keys__, path)
            or _missing(pair["rtt_seconds"], RttDocument.__required_keys__, f"{path}rtt_seconds.")
            or _missing(
                pair["network_rtt_seconds"], NetworkRttDocument.__required_keys__, f"{path}network_rtt_seconds."
            )
        )
        if missing:
            break
    return f"lacks {missing} (is it another version of monlat?)" if missing else ""


def _missing(value: Any, keys: frozenset[str], path: str) -> str:
    """Return the `keys` that `value` lacks, each with `path` before it; "" if it lacks none."""
    present = value.keys() if isinstance(value, dict) else set()
    return ", ".join(path + key for key in sorted(keys - present))


def _unreachable(url: str, reason: str) -> AgentUnreachable:
    return AgentUnreachable(
        f"no agent answers at {url}: {reason}. Start one with `monlat agent --peers FILE`, "
        "or say where it listens with --url (MONLAT_URL)"
    )
