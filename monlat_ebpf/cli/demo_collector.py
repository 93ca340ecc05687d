"""The collector of `monlat demo --serve`: it listens where the demo runs, and asks inside the demo's network.

A socket stays in the network namespace that it was made in. So the process opens its port, then enters the switch's
namespace, where it reaches the agents. No interface and no route is added to the machine.

Run as `python -m monlat_ebpf.cli.demo_collector`, with descriptors of the namespace and of the peers file.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from monlat_ebpf.cli.demo_process import VirtualProcess
from monlat_ebpf.cli.log import start_logging
from monlat_ebpf.collector.collector import Collector
from monlat_ebpf.collector.config import CollectorConfig
from monlat_ebpf.errors import ConfigError, MonlatError
from monlat_ebpf.testbed.namespace import Namespace
from monlat_ebpf.testbed.syscalls import enter_network

INTERVAL_SECONDS: Final = 2.0
"""A window is as long: ten probes of each pair."""

_ANY: Final = {"::": "localhost", "0.0.0.0": "localhost"}


class VirtualCollector(VirtualProcess):
    """The collector. `url` is where its page is. Raises ConfigError if the port is not free."""

    def __init__(self, switch: Namespace, peers_descriptor: int, listen: tuple[str, int]) -> None:
        host, port = listen
        arguments = [str(switch.descriptor), str(peers_descriptor), host, str(port)]
        ours, theirs = os.pipe()
        with os.fdopen(ours) as output:
            try:
                with Namespace.current() as here:
                    super().__init__(
                        *("the collector", here, "monlat_ebpf.cli.demo_collector", arguments),
                        descriptors=[switch.descriptor, peers_descriptor],
                        stdout=theirs,
                    )
            finally:
                os.close(theirs)
            found = output.readline().strip()  # nothing if it could not listen
        if not found:
            self.process.wait()
            reason = self.last_lines()
            self.close()
            raise ConfigError(reason)
        shown = _ANY.get(host, host)
        self.url = f"http://[{shown}]:{found}" if ":" in shown else f"http://{shown}:{found}"


def run(switch_descriptor: int, peers_descriptor: int, host: str, port: int) -> int:
    """Run a collector until SIGTERM; return its exit status. Its port is the first line of its output."""
    start_logging("info")
    collector = Collector(
        CollectorConfig(
            peers_file=Path(f"/proc/self/fd/{peers_descriptor}"),
            listen=((host, port),),
            interval_seconds=INTERVAL_SECONDS,
        )
    )
    enter_network(switch_descriptor)
    print(collector.ports[0], flush=True)
    return asyncio.run(collector.run())


if __name__ == "__main__":
    switch, peers, address, number = sys.argv[1:]
    try:
        sys.exit(run(int(switch), int(peers), address, int(number)))
    except MonlatError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_status)
