"""An agent's HTTP side as far as the commands see it: one answer at /api/v1/peers, 404 elsewhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


def pair(to: str, **changes: Any) -> dict[str, Any]:
    """One pair as the agent of node1 tells it: 23 probes, 19 answered; `changes` replace fields."""
    return {
        "from": "node1",
        "to": to,
        "family": "ipv4",
        "address": "10.0.0.2",
        "from_zone": "a",
        "to_zone": "b",
        "device": "eth0",
        "sent": 23,
        "replies": 19,
        "lost": 4,
        "results": {"reply": 19, "lost_network": 3, "lost_host": 0, "unreachable": 1, "send_error": 0},
        "in_flight": 0,
        "late": 0,
        "duplicates": 0,
        "rtt_ms": {"last": 0.0431, "p50": 0.0502, "p99": 1.274, "min": 0.0094, "max": 103.4},
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
        "foreign_packets": {},
        **changes,
    }


@contextmanager
def serving(body: dict[str, Any] | bytes) -> Iterator[str]:
    """Serve `body`, and yield the URL to ask."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/api/v1/peers"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(content if found else b"")

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
