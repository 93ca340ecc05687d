"""The HTTP server of a collector as the commands see it: answers at /api/v1/matrix and /api/v1/diagnosis."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.unit.served import served

NOW = 1_800_000_000
"""What the server says that the time is, in its header Date."""


def matrix(
    zones: str, states: Sequence[str], values: Sequence[Sequence[float | None]], **changes: Any
) -> dict[str, Any]:
    """A matrix of node1, node2 and so on; `zones` has a letter for each. Nodes with stale rows do not answer."""
    nodes = [
        {
            "name": f"node{number}",
            "zone": zone,
            "is_stale": "s" in row,
            "age_seconds": None if "s" in row else number / 2,
            "failure": "timeout" if "s" in row else None,
            "failure_text": "does not answer in time" if "s" in row else None,
        }
        for number, (zone, row) in enumerate(zip(zones, states, strict=True), start=1)
    ]
    return {
        "measure": "rtt",
        "unix_seconds": NOW,
        "interval_seconds": 5.0,
        "nodes": nodes,
        "states": states,
        "values_seconds": values,
        **changes,
    }


def even(zones: str, seconds: float = 0.0004, **changes: Any) -> dict[str, Any]:
    """A matrix in which every pair takes as long."""
    count = len(zones)
    states = ["".join("-" if row == column else "m" for column in range(count)) for row in range(count)]
    return matrix(zones, states, [[seconds] * (count - 1)] * count, **changes)


def diagnosis(*diagnoses: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The diagnoses after window 12, which closed 3 s ago; five agents, all of which answer."""
    return {
        "unix_seconds": NOW - 3.0,
        "window_seconds": 5.0,
        "window": 12,
        "agents": 5,
        "agents_answering": 5,
        "diagnoses": list(diagnoses),
        **changes,
    }


def slow_node(**changes: Any) -> dict[str, Any]:
    """One diagnosis: node3 is slow, since 08:00:00 UTC minus a minute."""
    return {
        "kind": "node",
        "names": ["node3"],
        "parts": ["out"],
        "state": "open",
        "title": "node node3 (what it sends)",
        "confidence_ratio": 0.998,
        "since_unix_seconds": NOW - 60,
        "since_window": 8,
        "candidates": [],
        "evidence": [{"symptom": "slow", "text": "38 of 40 network RTTs above the usual; seen by 4 of 4 peers"}],
        **changes,
    }


@contextmanager
def serving(*bodies: dict[str, Any] | bytes) -> Iterator[str]:
    """Serve `bodies` one after the other, the last one for ever, and yield the URL to ask. Another path is a 404.

    A matrix has the measure that was asked for.
    """
    waiting = list(bodies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            found = url.path in ("/api/v1/matrix", "/api/v1/diagnosis")
            body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            if isinstance(body, dict) and url.path == "/api/v1/matrix":
                body = {**body, "measure": parse_qs(url.query)["measure"][0]}
            self.send_response_only(200 if found else 404)
            self.send_header("Date", formatdate(NOW, usegmt=True))
            self.end_headers()
            self.wfile.write((body if isinstance(body, bytes) else json.dumps(body).encode()) if found else b"")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with served(Handler) as url:
        yield url
