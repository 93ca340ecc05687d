"""Who stamped the replies, and the warning where that is mostly the stack."""

from __future__ import annotations

import pytest

from monlat_ebpf.probing.reply_stamps import ReplyStamps

LO, DRIVER, STACK = 1, 1, 2  # the loopback device has index 1 in every namespace


def test_replies_are_counted_by_device_and_stamp() -> None:
    """7 of a driver, 3 of the stack, 2 of a source that does not say."""
    stamps = ReplyStamps()
    for stamped_by in (DRIVER,) * 7 + (STACK,) * 3 + (0, 0):
        stamps.latest.append((LO, stamped_by))
    assert stamps.counts() == {("lo", "driver"): 7, ("lo", "stack"): 3}


@pytest.mark.parametrize(
    ("driver", "stack", "warnings"), [(0, 19, 0), (0, 43, 1), (10, 10, 0), (23, 24, 1), (43, 0, 0)]
)
def test_device_without_driver_stamps_is_warned_of_once(
    driver: int, stack: int, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    """From 20 replies on, when more than half of them have the stack's stamp."""
    stamps = ReplyStamps()
    for stamped_by in (DRIVER,) * driver + (STACK,) * stack:
        stamps.latest.append((LO, stamped_by))
        stamps.update()
    assert caplog.text.count("lo: ") == warnings
