"""Windows of small clusters for the tests of the diagnosis, with exact counts: no noise."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from monlat_ebpf.abi.histogram import bucket_of
from monlat_ebpf.diagnosis.diagnoser import Diagnoser, Report
from monlat_ebpf.diagnosis.findings import Element, Kind, Part
from monlat_ebpf.diagnosis.past import LEARNED
from monlat_ebpf.diagnosis.tables import Table
from monlat_ebpf.diagnosis.window import Health, Node, Row, Samples, Window
from monlat_ebpf.model import Result

Cell = tuple[str, str]
NAMES: Final = [f"n{i}" for i in range(9)]
ZONES: Final = {name: f"zone{i // 3}" for i, name in enumerate(NAMES)}
FORWARD, RETURN, NETWORK = Result.LOST_FORWARD, Result.LOST_RETURN, Result.LOST_NETWORK
PROBES = 15
USUAL_SECONDS = 200e-6
DWELL_SECONDS = 20e-6


def nodes(names: Sequence[str], zones: Mapping[str, str] | None = None) -> tuple[Node, ...]:
    """Return nodes in order of their zone."""
    return tuple(sorted((Node(name, (zones or {}).get(name, "")) for name in names), key=lambda node: node.zone))


def window(
    of: Sequence[Node],
    lost: Mapping[Cell, Mapping[Result, int]] | None = None,
    rtt: Mapping[Cell, float] | None = None,
    dwell: Mapping[Cell, float] | None = None,
    silent: Collection[str] = (),
    health: Mapping[str, Health] | None = None,
    not_probed: Collection[Cell] = (),
    probes: int = PROBES,
) -> Window:
    """Return a window in which each cell has `probes` probes, all answered in USUAL_SECONDS but for what is given.

    `rtt` is the network RTT of all samples of a cell, `dwell` the time in the kernel of its first node.
    """
    lost, rtt, dwell, health = lost or {}, rtt or {}, dwell or {}, health or {}
    rows: list[Row | None] = []
    for sender in of:
        if sender.name in silent:
            rows.append(None)
            continue
        peers = [
            index for index, peer in enumerate(of) if peer != sender and (sender.name, peer.name) not in not_probed
        ]
        cells = [(sender.name, of[index].name) for index in peers]
        losses = [lost.get(cell, {}) for cell in cells]
        replies = [probes - sum(each.values()) for each in losses]
        results: dict[Result, array[int]] = {Result.REPLY: array("I", replies)}
        for result in set(Result) - {Result.REPLY}:
            results[result] = array("I", (each.get(result, 0) for each in losses))
        network = Samples.of(
            repeated(rtt.get(cell, USUAL_SECONDS), count) for cell, count in zip(cells, replies, strict=True)
        )
        kernel = Samples.of(repeated(dwell.get(cell, DWELL_SECONDS), probes) for cell in cells)
        empty = Samples.of(b"" for _ in cells)
        of_agent = health.get(sender.name, Health(sent=probes))
        rows.append(Row(array("I", peers), results, empty, of_agent, network, kernel))
    return Window(tuple(of), rows)


def repeated(seconds: float, count: int) -> bytes:
    """Return `count` equal samples."""
    return bytes((bucket_of(round(seconds * 1e9)),)) * count


def all_cells(names: Sequence[str]) -> list[Cell]:
    return [(one, other) for one in names for other in names if one != other]


def table_counts(table: Table) -> dict[tuple[int, int], tuple[int, int]]:
    """Return (shown, trials) by sender and peer."""
    return {
        (sender, peer): (table.shown[sender][i], table.trials[sender][i])
        for sender, peers in enumerate(table.peers)
        for i, peer in enumerate(peers)
    }


def node(name: str) -> Element:
    return Element(Kind.NODE, (name,))


def pair(one: str, other: str) -> Element:
    return Element(Kind.PAIR, (one, other))


def decide(*windows: Window, warm_up: int = LEARNED) -> Report:
    """Return the report of the last window, after `warm_up` windows in which all is well."""
    diagnoser = Diagnoser()
    for _ in range(warm_up):
        report = diagnoser.decide(window(windows[0].nodes))
        assert report.findings == ()
    for each in windows:
        report = diagnoser.decide(each)
    return report


def found(report: Report) -> dict[Element, set[Part]]:
    return {finding.element: set(finding.parts) for finding in report.findings}


def out_of(name: str, names: Iterable[str], lost: int) -> dict[Cell, dict[Result, int]]:
    """Return the losses of a node that loses what it sends: requests of its own, and replies to others."""
    others = [other for other in names if other != name]
    return {(name, other): {FORWARD: lost} for other in others} | {(other, name): {RETURN: lost} for other in others}


def into(name: str, names: Iterable[str], lost: int) -> dict[Cell, dict[Result, int]]:
    others = [other for other in names if other != name]
    return {(name, other): {RETURN: lost} for other in others} | {(other, name): {FORWARD: lost} for other in others}
