"""Shares of lost probes over the last one to two minutes, computed from counters by hand."""

from __future__ import annotations

import math

import pytest

from monlat_ebpf.collector.answer import Row
from monlat_ebpf.collector.loss import LossWindow
from tests.unit.collector_rows import results, row


def counted(**counts: int) -> Row:
    return row("node1", {"node2": 0.001}, results=results(**counts))


def test_share_is_of_the_probes_since_the_first_answer() -> None:
    """40 probes have ended since: 4 lost forward, 2 return, 1 network, 1 on this host, 1 not sent, 1 unreachable."""
    window = LossWindow()
    first = window.update(100.0, counted(reply=1000, lost_forward=500))
    assert all(math.isnan(share[0]) for share in first.values())
    later = counted(
        **{"reply": 1030, "lost_forward": 504, "lost_return": 2, "lost_network": 1},
        **{"lost_host": 1, "send_error": 1, "unreachable": 1},
    )
    found = {name: share[0] for name, share in window.update(105.0, later).items()}
    assert found == pytest.approx(
        {
            "loss": 10 / 40,
            "loss_forward": 4 / 40,
            "loss_return": 2 / 40,
            "loss_network": 1 / 40,
            "loss_host": 2 / 40,
            "loss_unreachable": 1 / 40,
        }
    )


def test_old_losses_leave_the_window() -> None:
    """100 losses in the first 5 s; an answer every 5 s. The window is 60 to 120 s long, then they are gone."""
    window = LossWindow()
    window.update(0.0, counted())
    shares = []
    for number in range(1, 41):
        share = window.update(5.0 * number, counted(reply=100 * number, lost_forward=100))["loss"][0]
        shares.append((5 * number, share))
        assert window.seconds <= 125
    assert all(share > 0 for seconds, share in shares if seconds <= 60)
    assert all(share == 0 for seconds, share in shares if seconds > 125)
    assert all(window_share == 0 or seconds <= 125 for seconds, window_share in shares)


def test_agent_that_starts_again_counts_from_zero() -> None:
    """After a start, 10 of 50 probes are lost; the 1,000 before do not count."""
    window = LossWindow()
    window.update(0.0, counted(reply=1000))
    assert window.update(5.0, counted(reply=40, lost_network=10))["loss"][0] == pytest.approx(0.2)


def test_new_peer_is_counted_from_its_first_probe() -> None:
    """node3 is new: 3 of its 12 probes are lost. node2 has no new probe, so it has no share."""
    window = LossWindow()
    window.update(0.0, row("node1", {"node2": 0.001}, results=results(reply=9, lost_network=3)))
    shares = window.update(
        5.0, row("node1", {"node3": 0.001, "node2": 0.001}, results=results(reply=9, lost_network=3))
    )
    assert shares["loss"][0] == pytest.approx(0.25)
    assert math.isnan(shares["loss"][1])
