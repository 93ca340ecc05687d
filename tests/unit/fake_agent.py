"""The HTTP server of an agent as the commands see it: one answer at /api/v1/peers, 404 elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

from tests.unit.served import served


def pair(to: str, **changes: Any) -> dict[str, Any]:
    """One pair in an answer of node1's agent: 23 probes, 19 answered; `changes` replace fields."""
    return {
        "from": "node1",
        "to": to,
        "family": "ipv4",
        "address": "10.0.0.2",
        "from_zone": "a",
        "to_zone": "b",
        "kind": "node",
        "device": "eth0",
        "sent": 23,
        "replies": 19,
        "lost": 4,
        "results": {
            **{"reply": 19, "lost_network": 3, "lost_forward": 0, "lost_return": 0},
            **{"lost_host": 0, "unreachable": 1, "send_error": 0},
        },
        "in_flight": 0,
        "late": 0,
        "duplicates": 0,
        "rtt_seconds": {"last": 43.1e-6, "p50": 50.2e-6, "p99": 1.274e-3, "min": 9.4e-6, "max": 103.4e-3},
        "network_rtt_seconds": {"last": 13.1e-6, "p50": 15.2e-6, "p99": 0.9e-3},
        "dwell_seconds": {"p50": 31.1e-6, "p99": 0.4e-3},
        "peer_dwell_seconds": 30e-6,
        "clock_offset_seconds": -2.0005e-3,
        "clock_offset_error_seconds": 10e-6,
        "queueing_seconds": {"forward": 2.1e-6, "return": 0.0},
        **changes,
    }


def answer(*pairs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The whole answer of the agent of node1; `changes` replace fields."""
    return {
        "node": "node1",
        "source": "tracepoint",
        "source_reason": "",
        "interval_seconds": 1.0,
        "timeout_seconds": 0.5,
        "pairs": list(pairs),
        "probe_errors": {},
        "skipped_probes": 0,
        "unlisted_source_probes": {"ipv4": 0, "ipv6": 0},
        "unmatched_packets": {},
        "rejected_feedback": {},
        "send_delay_seconds": {"p50": 80.1e-6, "p99": 0.29e-3},
        "reply_stamps": [],
        **changes,
    }


def probe(sequence: int, **changes: Any) -> dict[str, Any]:
    """One answered probe: 80 us to the driver, 10 forward, 30 at the peer, 20 back."""
    return {
        "sequence": sequence,
        "result": "reply",
        "sent_unix_seconds": 1_700_000_000.25 + sequence,
        "send_delay_seconds": 80e-6,
        "rtt_seconds": 60e-6,
        "peer_dwell_seconds": 30e-6,
        "network_rtt_seconds": 30e-6,
        "forward_seconds": 10e-6,
        "return_seconds": 20e-6,
        **changes,
    }


def _of_one(content: bytes, peer: str) -> bytes:
    document = json.loads(content)
    return json.dumps({**document, "pairs": [each for each in document["pairs"] if each["to"] == peer]}).encode()


@contextmanager
def serving(*bodies: dict[str, Any] | bytes) -> Iterator[str]:
    """Serve `bodies` one after the other, the last one for ever, and yield the URL to ask.

    A query for one peer gets only the pairs to that peer.
    """
    contents = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            found = path == "/api/v1/peers"
            self.send_response(200 if found else 404)
            self.end_headers()
            content = contents.pop(0) if len(contents) > 1 else contents[0]
            self.wfile.write(_of_one(content, parse_qs(query)["peer"][0]) if query else content if found else b"")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with served(Handler) as url:
        yield url
