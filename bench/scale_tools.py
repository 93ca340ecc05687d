"""The programs that bench/scale compares, each with many targets at once, once a second."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import IO

import yaml

import monlat_ebpf
from bench.many_peers import PORT, Bed, addresses_of, running_agent
from bench.scale_result import FPING, MONLAT, PACED, SMOKEPING, Load
from bench.tools.one_shot import Fping
from bench.tools.smokeping_prober import PROGRAM, SmokepingProber

SCRAPE_SECONDS = 15.0
"""How often monlat and smokeping_prober are scraped, and fping sums up what it has found."""
_SMOKEPING_PORT = 9374
_PERIOD_MS = 1000
_SPREAD = 0.8  # of the period; the rest of it catches up with what was late
_FPING_COUNT = re.compile(r"^(\S+)\s*: xmt/rcv/%loss = (\d+)/", re.MULTILINE)
_END_SECONDS = 30


@dataclass
class Running:
    """What probes: its processes, and where it serves metrics. `sent` is what it says of itself, once it has ended."""

    processes: tuple[int, ...]
    port: int | None = None
    sent: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """`started` runs it in a bed under a load; it is gone after the block."""

    name: str
    version: Callable[[], str]
    started: Callable[[Bed, Load], AbstractContextManager[Running]]


@contextmanager
def monlat(bed: Bed, load: Load) -> Iterator[Running]:
    with running_agent(bed.here, load.peers, load.is_dual) as process:
        yield Running((process,), PORT)


@contextmanager
def fping(bed: Bed, load: Load, spread: float = 0.0) -> Iterator[Running]:
    """Run a process for each family, as fping and fping6 were: one cannot send 6,554 probes a second.

    It never uses a sequence number again within 10 s, and ends when the 65,535 are used up (its seqmap.c).
    """
    with ExitStack() as stack:
        each = [stack.enter_context(_one_fping(bed, hosts, spread)) for hosts in zip(*peers_of(load), strict=True)]
        running = Running(tuple(process.pid for process, _ in each))
        yield running
        running.sent.append(sum(sent_by_fping(_interrupted(*one)) for one in each))


@contextmanager
def _one_fping(bed: Bed, hosts: Sequence[str], spread: float) -> Iterator[tuple[subprocess.Popen[bytes], IO[str]]]:
    """Run fping for the block; yield the process and the file with its output. Raises RuntimeError if it ends early."""
    with tempfile.NamedTemporaryFile("w") as targets, tempfile.TemporaryFile("w+") as output:
        targets.writelines(f"{host}\n" for host in hosts)
        targets.flush()
        command = ("fping", *fping_options(len(hosts), spread).split(), "-f", targets.name)
        process = bed.here.namespace.popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield process, output
        except ProcessLookupError as error:
            output.seek(0)
            raise RuntimeError(f"fping has ended: {output.read()[-500:]}") from error
        finally:
            process.kill()
            process.wait()


def _interrupted(process: subprocess.Popen[bytes], output: IO[str]) -> str:
    """Interrupt fping, and return all that it has printed."""
    process.send_signal(signal.SIGINT)
    process.wait(_END_SECONDS)
    output.seek(0)
    return output.read()


def fping_options(targets: int, spread: float) -> str:
    """Return the options for probing each of `targets` once a second, with a summary in SCRAPE_SECONDS.

    The probes are spread over the part `spread` of the second. With 0 fping sends them all at once and then sleeps,
    which is its cheapest way.
    """
    spacing = spread * _PERIOD_MS / targets
    return f"-l -q -Q {SCRAPE_SECONDS:g} -p {_PERIOD_MS} -t {_PERIOD_MS} -i {spacing:g}"


def sent_by_fping(output: str) -> int:
    """Return how many probes fping says that it has sent in all: the last line of a target is about its whole life."""
    return sum(int(sent) for sent in dict(_FPING_COUNT.findall(output)).values())


@contextmanager
def smokeping(bed: Bed, load: Load) -> Iterator[Running]:
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
        groups = [
            {"hosts": list(hosts), "network": network, "protocol": "icmp", "interval": f"{_PERIOD_MS}ms"}
            for network, hosts in zip(("ip4", "ip6"), zip(*peers_of(load), strict=True), strict=False)
        ]
        yaml.safe_dump({"targets": groups}, config)
        config.flush()
        listen = f"--web.listen-address=127.0.0.1:{_SMOKEPING_PORT}"
        command = (PROGRAM, f"--config.file={config.name}", listen, "--log.level=error")
        process = bed.here.namespace.popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            yield Running((process.pid,), _SMOKEPING_PORT)
        finally:
            process.kill()
            process.wait()


def peers_of(load: Load) -> list[tuple[str, ...]]:
    """Return the addresses of each peer."""
    return [addresses_of(peer, load.is_dual) for peer in range(load.peers)]


PROGRAMS = {
    program.name: program
    for program in (
        Program(MONLAT, lambda: monlat_ebpf.__version__, monlat),
        Program(FPING, Fping().version, fping),
        Program(PACED, Fping().version, partial(fping, spread=_SPREAD)),
        Program(SMOKEPING, SmokepingProber().version, smokeping),
    )
}
