"""Dropping capabilities, in a separate process."""

from __future__ import annotations

import subprocess
import sys

DROPPING = """
import socket, subprocess, sys, threading
from monlat_ebpf.host import capabilities
print(*capabilities.keep_only(["CAP_NET_RAW"]))
socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
def in_thread():
    print(*capabilities.names_of(capabilities.effective()))
thread = threading.Thread(target=in_thread); thread.start(); thread.join()
print(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout)
try:
    socket.sethostname("monlat")
except PermissionError:
    print("permission denied")
"""


def test_only_the_kept_capability_remains() -> None:
    """NET_RAW is kept: a raw socket opens, sethostname is not permitted, and new threads and programs have no more."""
    run = subprocess.run([sys.executable, "-c", DROPPING], capture_output=True, text=True, timeout=60, check=True)
    lines = run.stdout.splitlines()
    assert lines[:2] == ["CAP_NET_RAW", "CAP_NET_RAW"]
    assert lines[-1] == "permission denied"
    of_program = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert int(of_program["CapEff"], 16) | 1 << 13 == 1 << 13
    assert of_program["NoNewPrivs"] == "1"
