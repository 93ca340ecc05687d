"""Ask an agent over HTTP. Every command that shows measurements gets them here."""

from __future__ import annotations

import http.client
import json
import urllib.error
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlencode, urlsplit

from monlat_ebpf.config import DEFAULT_PORT
from monlat_ebpf.errors import AgentUnreachable, ConfigError, UnknownPeer
from monlat_ebpf.exposition.api import NetworkRttDocument, PairDocument, PeersDocument, RttDocument
from monlat_ebpf.exposition.client_access import ClientAccess
from monlat_ebpf.exposition.peer_detail import PeerDocument

DEFAULT_URLS: Final = (f"http://[::1]:{DEFAULT_PORT}", f"http://127.0.0.1:{DEFAULT_PORT}")
"""The URLs of this node's agent. The second one is for a host without IPv6."""

_PATH: Final = "/api/v1/peers"
_NAMED_PEERS: Final = 5  # in the error about an unknown peer
_LARGEST_ANSWER: Final = 64 * 1024 * 1024  # bytes; 5,000 peers of two addresses need 8 MB

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
    base = _checked(url)
    opener, request = access.opener(base), access.request(base + _PATH + query)
    try:
        with opener.open(request, timeout=timeout_seconds) as response:
            body = response.read(_LARGEST_ANSWER + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise _unreachable(base, f"it answers {error.code} {error.reason} to {_PATH}{_remedy(error)}") from error
    except urllib.error.URLError as error:
        raise _unreachable(base, _reason(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(base, _reason(error)) from error
    if len(body) > _LARGEST_ANSWER:
        raise _unreachable(base, f"its answer to {_PATH} is longer than {_LARGEST_ANSWER >> 20} MiB")
    return parse_answer(body, base)


def parse_answer(body: bytes, url: str) -> PeersDocument:
    """Parse `body`. Raises AgentUnreachable if it is not an answer of an agent."""
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise _unreachable(url, f"its answer to {_PATH} is not JSON") from error
    if problem := _problem(answer):
        raise _unreachable(url, f"its answer to {_PATH} {problem}")
    return cast(PeersDocument, answer)


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


def _checked(url: str) -> str:
    """Return `url` without a slash at its end. Raises ConfigError if it is not a URL."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"--url (MONLAT_URL): {url!r} is not the URL of an agent; write for example {DEFAULT_URLS[0]}"
        )
    return url.rstrip("/")


def _remedy(error: urllib.error.HTTPError) -> str:
    match error.code:
        case 400 if b"TLS" in error.read(1024):
            return "; it speaks TLS: ask it with --url https://…"
        case 401:
            return "; give a user and a password with --user-file FILE (MONLAT_USER_FILE)"
        case 403:
            return "; give a client certificate with --cert FILE (MONLAT_CERT)"
    return ""


def _reason(error: object) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"{getattr(error, 'verify_message', 'certificate not verified')}; give its CA with --ca FILE (MONLAT_CA)"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _unreachable(url: str, reason: str) -> AgentUnreachable:
    return AgentUnreachable(
        f"no agent answers at {url}: {reason}. Start one with `monlat agent --peers FILE`, "
        "or say where it listens with --url (MONLAT_URL)"
    )
