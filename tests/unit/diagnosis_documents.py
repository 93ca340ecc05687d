"""Answers of /api/v1/diagnosis, by hand, as docs/collector.md describes them."""

from __future__ import annotations

from typing import Any

NOW = 1_796_038_318.7


def diagnosis(kind: str, *names: str, **changes: Any) -> dict[str, Any]:
    """One open diagnosis of ten minutes ago; `changes` replace fields."""
    return {
        "kind": kind,
        "names": list(names),
        "parts": [],
        "state": "open",
        "title": f"{kind} {' '.join(names)}",
        "confidence_ratio": 0.984,
        "since_unix_seconds": NOW - 600,
        "since_window": 10,
        "candidates": [],
        "evidence": [{"symptom": "slow", "seen_by": 3, "witnesses": 3, "text": "38 of 40; seen by 3 of 3 peers"}],
        **changes,
    }


def document(*diagnoses: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The whole answer after 12 windows, all of 4 agents answering; `changes` replace fields."""
    return {
        "unix_seconds": NOW,
        "window_seconds": 5.0,
        "window": 12,
        "agents": 4,
        "agents_answering": 4,
        "diagnoses": list(diagnoses),
        **changes,
    }
