"""Keeps a queue from running empty, so that every other packet waits in it."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Final, Self

from monlat_ebpf.testbed.namespace import Namespace

SLOW: Final = "root tbf rate 2mbit burst 3000 limit 200000"
"""A frame of a filler leaves it every 5.7 ms."""

_FRAME: Final = bytes.fromhex("0200000000fd 0200000000fc 88b5") + bytes(1400)  # EtherType for local experiments
_BUFFER_BYTES: Final = 2304  # the kernel doubles it: two frames


class Filler:
    """Puts the slow queue on a device, and two frames into it that nobody receives; a context manager."""

    def __init__(self, namespace: Namespace, device: str) -> None:
        done = namespace.run(["tc", "qdisc", "add", "dev", device, *SLOW.split()])
        assert done.returncode == 0, done.stderr
        with namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._socket.settimeout(1)
        self._socket.bind((device, 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._fill, name=f"filler {device}")

    def _fill(self) -> None:
        while not self._over.is_set():
            self._socket.send(_FRAME)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()
