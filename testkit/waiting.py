"""Wait for what another thread, process or kernel does, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE_SECONDS = 60.0  # long enough for a busy machine; a test is stopped after 120 s
POLL_SECONDS = 0.005


def wait_until(
    condition: Callable[[], object],
    failure: str = "it did not happen",
    *,
    seconds: float = DEADLINE_SECONDS,
    pause: float = POLL_SECONDS,
) -> None:
    """Return as soon as `condition` holds. Raises TimeoutError with `failure` after `seconds`.

    It is asked every `pause` seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{failure} within {seconds:g} s")
        time.sleep(pause)
