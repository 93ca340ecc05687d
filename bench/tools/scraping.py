"""HTTP as Prometheus does it: one connection that is kept, and clients that scrape without pause."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection

from monlat_ebpf.testbed.namespace import Namespace

CLIENTS = 4
_HTTP_SECONDS = 60


class Scraper:
    """A client of `port` on the loopback of `namespace`, for one thread."""

    def __init__(self, namespace: Namespace, port: int) -> None:
        self._namespace = namespace
        self._connection = HTTPConnection("127.0.0.1", port, timeout=_HTTP_SECONDS)

    def get(self, path: str) -> str:
        """Return the body. Raises OSError when nobody answers, and when the answer is another than 200."""
        if self._connection.sock is None:
            with self._namespace.entered():
                self._connection.connect()
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        body = response.read().decode()
        if response.status != 200:
            raise ConnectionError(f"{path}: status {response.status}: {body}")
        return body

    def answers(self, path: str) -> bool:
        """Whether the path can be had by now."""
        try:
            self.get(path)
        except OSError:
            self._connection.close()
            return False
        return True

    def close(self) -> None:
        self._connection.close()


@contextmanager
def scraped_without_pause(namespace: Namespace, port: int) -> Iterator[None]:
    """Let CLIENTS processes fetch /metrics as fast as they can, for the block."""
    url = f"http://127.0.0.1:{port}/metrics?[1-100000000]"  # curl's way to say: over and over, on one connection
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            client = namespace.popen(
                ("curl", "--silent", "--output", "/dev/null", url), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            stack.callback(client.wait)
            stack.callback(client.kill)
        yield
