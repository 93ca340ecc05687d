"""The JSON of `/api/v1/diagnosis`: what is broken. Pure. docs/collector.md describes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from monlat_ebpf.collector.diagnosing import Decision
from monlat_ebpf.collector.store import NodeView
from monlat_ebpf.diagnosis.findings import Element, Evidence, Part
from monlat_ebpf.diagnosis.hysteresis import Diagnosis, State
from monlat_ebpf.diagnosis.text import evidence_text, name_of, title_of


def render_diagnosis(decision: Decision, nodes: Sequence[NodeView], *, with_suspected: bool) -> bytes:
    """Return the document, its diagnoses in the order of the decision: open ones first."""
    document = {
        "unix_seconds": decision.unix_seconds,
        "window_seconds": decision.window_seconds,
        "window": decision.window,
        "agents": len(nodes),
        "agents_answering": sum(not node.is_stale for node in nodes),
        "diagnoses": [
            _diagnosis(each, decision)
            for each in decision.diagnoses
            if with_suspected or each.state is not State.SUSPECTED
        ],
    }
    return json.dumps(document).encode() + b"\n"


def _diagnosis(diagnosis: Diagnosis, decision: Decision) -> dict[str, Any]:
    finding = diagnosis.finding
    element = finding.element
    return {
        "kind": element.kind.value,
        "names": list(element.names),
        "parts": [part.value for part in Part if part in finding.parts],
        "state": diagnosis.state.value,
        "title": title_of(finding),
        "confidence_ratio": round(finding.confidence, 4),
        "since_unix_seconds": decision.since_unix_seconds[diagnosis.since],
        "since_window": diagnosis.since,
        "candidates": [_candidate(candidate) for candidate in finding.candidates],
        "evidence": [_evidence(evidence, element) for evidence in finding.evidence],
    }


def _candidate(element: Element) -> dict[str, Any]:
    return {"kind": element.kind.value, "names": list(element.names), "title": name_of(element)}


def _evidence(evidence: Evidence, element: Element) -> dict[str, Any]:
    return {
        "symptom": evidence.symptom.value,
        "seen_by": evidence.seen_by,
        "witnesses": evidence.witnesses,
        "shown": evidence.shown,
        "trials": evidence.trials,
        "windows": evidence.windows,
        "usual_seconds": _rounded(evidence.usual_seconds),
        "now_seconds": _rounded(evidence.now_seconds),
        "text": evidence_text(evidence, element),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{seconds:.3g}")
