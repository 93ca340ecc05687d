"""What a collector answers, checked and with its types: the matrix and the diagnoses."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from monlat_ebpf.cli.asking import COLLECTOR_URL
from monlat_ebpf.errors import CollectorUnreachable
from monlat_ebpf.exposition.client_access import ClientAccess
from monlat_ebpf.exposition.json_client import NoAnswer, Reply, checked_url, get_json

MEASURED: Final = "m"
STATES: Final = {"-", MEASURED, "l", "s", "n"}

_TIMEOUT_SECONDS: Final = 10.0  # the matrix of 1,000 nodes takes a second
_ANOTHER_VERSION: Final = "(is it another version of monlat?)"


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A node, and whether its agent answers the collector. `failure`: why it does not, "" if it does."""

    name: str
    zone: str
    age_seconds: float | None
    failure: str
    is_stale: bool


@dataclass(frozen=True, slots=True)
class ClusterMatrix:
    """One measure of all pairs: rows are the nodes that ask.

    `states` has a letter for each pair, as docs/collector.md describes. `values` has a number for each, NaN where none
    is known: 8 bytes a pair, as a cluster may have a million.
    """

    measure: str
    nodes: tuple[ClusterNode, ...]
    states: tuple[str, ...]
    values: tuple[array[float], ...]


@dataclass(frozen=True, slots=True)
class OpenDiagnosis:
    """What is broken, in the collector's own sentences. `candidates` are titles, `evidence` its texts."""

    kind: str
    title: str
    state: str
    confidence_ratio: float
    since_unix_seconds: float | None
    candidates: tuple[str, ...]
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClusterDiagnosis:
    """What the collector knows to be broken.

    `window` counts its closed windows; `age_seconds` is the age of the last one, None before the first.
    """

    window: int
    age_seconds: float | None
    window_seconds: float
    agents: int
    agents_answering: int
    diagnoses: tuple[OpenDiagnosis, ...]


def ask_matrix(url: str, measure: str, access: ClientAccess) -> Reply:
    """Return the answer of the collector at `url` to /api/v1/matrix. Raises CollectorUnreachable and ConfigError."""
    return _ask(url, f"/api/v1/matrix?{urlencode({'measure': measure})}", access)


def ask_diagnosis(url: str, access: ClientAccess) -> Reply:
    """Return the answer of the collector at `url` to /api/v1/diagnosis. Raises as `ask_matrix` does."""
    return _ask(url, "/api/v1/diagnosis", access)


def _ask(url: str, target: str, access: ClientAccess) -> Reply:
    base = checked_url(url, "a collector", COLLECTOR_URL)
    try:
        return get_json(base, target, _TIMEOUT_SECONDS, access)
    except NoAnswer as error:
        raise _unreachable(base, str(error)) from error


def matrix_of(reply: Reply, url: str) -> ClusterMatrix:
    """Check the answer to /api/v1/matrix. Raises CollectorUnreachable if it is none."""
    document = reply.document
    try:
        measure = str(document["measure"])
        nodes = tuple(_node(node) for node in document["nodes"])
        states = tuple(str(row) for row in document["states"])
        numbers = next(document[key] for key in ("values_seconds", "values_ratio") if key in document)
        values = tuple(_values(states, numbers))
    except (KeyError, TypeError, ValueError, StopIteration, IndexError) as error:
        raise _unreachable(url, f"its answer to /api/v1/matrix is no matrix {_ANOTHER_VERSION}") from error
    if len(states) != len(nodes) or any(len(row) != len(nodes) or set(row) - STATES for row in states):
        raise _unreachable(url, f"its answer to /api/v1/matrix has rows that do not fit {_ANOTHER_VERSION}")
    return ClusterMatrix(measure, nodes, states, values)


def diagnosis_of(reply: Reply, url: str) -> ClusterDiagnosis:
    """Check the answer to /api/v1/diagnosis. Raises CollectorUnreachable if it is none.

    The age of the window is by the collector's clock, which its header Date shows to a second.
    """
    document = reply.document
    try:
        closed = document["unix_seconds"]
        age = None if closed is None else max(reply.unix_seconds - float(closed), 0.0)
        return ClusterDiagnosis(
            int(document["window"]),
            age,
            float(document["window_seconds"]),
            int(document["agents"]),
            int(document["agents_answering"]),
            tuple(_diagnosis(each) for each in document["diagnoses"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unreachable(url, f"its answer to /api/v1/diagnosis is no diagnosis {_ANOTHER_VERSION}") from error


def _node(node: Any) -> ClusterNode:
    age = node["age_seconds"]
    return ClusterNode(
        str(node["name"]),
        str(node["zone"]),
        None if age is None else float(age),
        str(node["failure_text"] or ""),
        bool(node["is_stale"]),
    )


def _values(states: Sequence[str], numbers: Any) -> Iterator[array[float]]:
    """Yield the numbers of each row: the answer has one for each of its measured cells, null if not known."""
    for letters, known in zip(states, numbers, strict=True):
        values = array("d", [math.nan]) * len(letters)
        columns = [column for column, letter in enumerate(letters) if letter == MEASURED]
        for column, number in zip(columns, known, strict=True):
            if number is not None:
                values[column] = float(number)
        yield values


def _diagnosis(diagnosis: Any) -> OpenDiagnosis:
    since = diagnosis["since_unix_seconds"]
    return OpenDiagnosis(
        str(diagnosis["kind"]),
        str(diagnosis["title"]),
        str(diagnosis["state"]),
        float(diagnosis["confidence_ratio"]),
        None if since is None else float(since),
        tuple(str(each["title"]) for each in diagnosis["candidates"]),
        tuple(str(each["text"]) for each in diagnosis["evidence"]),
    )


def _unreachable(url: str, reason: str) -> CollectorUnreachable:
    return CollectorUnreachable(
        f"no collector answers at {url}: {reason}. Start one with `monlat collect`, or say where it listens with --url "
        "(MONLAT_URL)"
    )
