"""The tracepoint source as a whole: what it stamps, and that nothing of it remains after its end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from ipaddress import ip_address

from monlat_ebpf.abi.echo import echo_request
from monlat_ebpf.abi.probes import TableSize, mapped
from monlat_ebpf.model import Family
from monlat_ebpf.sources import Destination
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from testkit.pair import Pair
from testkit.waiting import wait_until
from tests.kernel.kernel_objects import Objects, objects_of

SECOND = 1_000_000_000


def test_packets_of_another_namespace_are_not_stamped() -> None:
    """13 probes of node1 pass the hooks of node2 too; node2's table has the same nonces and gets no stamps."""
    with Pair() as pair:
        here, there = pair["node1"], pair["node2"]
        with here.namespace.entered():
            ours = TracepointSource(TableSize(1))
        with there.namespace.entered():
            theirs = TracepointSource(TableSize(1))
        try:
            peer = ip_address(there.ipv4)
            for slot in range(13):
                now = time.monotonic_ns()
                for source in (ours, theirs):
                    source.table.arm(
                        slot, nonce=slot + 1, sent_ns=now, deadline_ns=now + 8 * SECOND, address=mapped(peer)
                    )
                ours.send(echo_request(Family.IPV4, 7, slot, slot, slot + 1), Destination(peer))
            wait_until(lambda: ours.table.histogram(0).count >= 13)
            for slot in range(13):
                stamped, blank = ours.table.completion(slot), theirs.table.completion(slot)
                assert 0 < stamped.transmitted_ns < stamped.received_ns
                assert (blank.transmitted_ns, blank.received_ns) == (0, 0)
            assert theirs.table.histogram(0).count == 0
            assert sum(theirs.table.unmatched_packets().values()) == 0
            assert sum(ours.table.unmatched_packets().values()) == 0
        finally:
            ours.close()
            theirs.close()


def test_close_frees_everything() -> None:
    """Close frees hooks and programs; the last use of the table frees the maps."""
    source = TracepointSource(TableSize(3))
    loaded = source._loaded
    assert loaded is not None
    objects = objects_of(loaded)
    assert len(objects.alive()) == 7 + 7 + 5  # maps, programs, links
    source.close()
    source.close()
    Objects((), objects.programs, objects.links).wait_until_gone()
    assert source.table.histogram(2).count == 0
    del source
    objects.wait_until_gone()


HOLDER = """
import sys
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from monlat_ebpf.abi.probes import TableSize
from tests.kernel.kernel_objects import objects_of
source = TracepointSource(TableSize(3))
print(*objects_of(source._loaded), sep="|", flush=True)
sys.stdin.read()
"""


def test_kill_frees_everything() -> None:
    """A process with a source is killed with signal 9: the kernel frees programs, links and maps."""
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            maps, programs, links = (
                tuple(int(number) for number in part.strip("()").split(","))
                for part in holder.stdout.readline().decode().strip().split("|")
            )
            objects = Objects(maps, programs, links)
            assert len(objects.alive()) == 7 + 7 + 5  # maps, programs, links
        finally:
            holder.kill()
        assert holder.wait(timeout=30) == -signal.SIGKILL
    objects.wait_until_gone()
