"""WakeEvent: set by threads and by signal handlers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from monlat_ebpf.host.wake_event import WakeEvent

# Thousands of signals interrupt wait and clear at every step. threading.Event hangs here within a second.
SIGNAL_STORM = """
import random, signal
from monlat_ebpf.host.wake_event import WakeEvent
wake, handled = WakeEvent(), 0
def handle(_signal, _frame):
    global handled
    handled += 1
    wake.set()
signal.signal(signal.SIGALRM, handle)
delay = random.Random(1)
while handled < 5003:
    signal.setitimer(signal.ITIMER_REAL, delay.uniform(10e-6, 200e-6))
    for _ in range(4):
        wake.clear()
        wake.wait(10e-6)
wake.clear()
signal.setitimer(signal.ITIMER_REAL, 0.001)
wake.wait(50)
print(handled)
"""


def test_signal_handler_sets_it_at_any_moment_without_deadlock() -> None:
    """5,003 handlers interrupt wait and clear, and none deadlocks. One more ends a wait of 50 s at once."""
    storm = subprocess.run([sys.executable, "-c", SIGNAL_STORM], capture_output=True, text=True, timeout=40, check=True)
    assert storm.stdout.strip() == "5004"


def test_set_before_wait_is_not_lost() -> None:
    """Every wait returns at once until the event is cleared."""
    wake = WakeEvent()
    wake.set()
    wake.set()
    start = time.monotonic()
    assert wake.wait(30)
    assert wake.wait(30)
    assert time.monotonic() - start < 10
    wake.clear()
    wake.clear()
    start = time.monotonic()
    assert not wake.wait(0.01)
    assert time.monotonic() - start >= 0.01


def test_set_from_another_thread_wakes_the_waiting_one() -> None:
    """A wait of 60 s ends when another thread sets the event."""
    wake = WakeEvent()
    waiting = threading.Thread(target=wake.wait, args=(60,))
    waiting.start()
    wake.set()
    waiting.join(timeout=20)
    assert not waiting.is_alive()
