"""Virtual networks: what they carry, and that they leave nothing behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest

from monlat_ebpf.errors import TestbedError
from monlat_ebpf.testbed.namespace import Namespace
from monlat_ebpf.testbed.network import Cluster, Node
from testkit.descriptors import open_descriptors
from testkit.links import Links, why_no_link_kind
from testkit.pair import Pair
from testkit.waiting import DEADLINE_SECONDS, wait_until


def ping(node: Node, address: str, *options: str) -> subprocess.CompletedProcess[str]:
    return node.namespace.run(["ping", "-n", "-c", "1", "-W", "1", *options, address])


def own_namespace() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_all_pairs_of_a_cluster_answer_the_first_ping(family: str) -> None:
    """Each of 5 new nodes reaches every other one across the bridge with its first packet."""
    with Cluster(5) as cluster:
        answered = [
            (source.name, target.name)
            for source, target in permutations(cluster, 2)
            if ping(source, getattr(target, family)).returncode == 0
        ]
    assert len(answered) == 20


def test_pair_is_usable_at_once() -> None:
    """The first ping over a new wire is answered, in both families and both directions, 7 times of 7."""
    statuses = []
    for _ in range(7):
        with Pair() as pair:
            first, second = pair
            statuses += [ping(first, second.ipv6).returncode, ping(second, first.ipv6).returncode]
            statuses += [ping(first, second.ipv4).returncode, ping(second, first.ipv4).returncode]
    assert statuses == [0] * 28


def test_socket_created_inside_stays_inside() -> None:
    """A socket created in `entered` keeps the addresses of the namespace after the block; the thread leaves it."""
    with Pair() as pair:
        node = pair["node1"]
        before = own_namespace()
        with node.namespace.entered():
            inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            assert own_namespace() == f"net:[{node.namespace.inode}]"
        assert own_namespace() == before
        with inside, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
            inside.bind((node.ipv4, 0))
            with pytest.raises(OSError, match="Cannot assign requested address"):
                outside.bind((node.ipv4, 0))


def test_thread_leaves_the_namespace_after_an_error() -> None:
    """An exception in the block does not leave the thread in the namespace."""
    before = own_namespace()
    with Namespace() as namespace:
        with pytest.raises(ZeroDivisionError), namespace.entered():
            _ = 1 // 0
        assert own_namespace() == before


def test_another_process_enters_by_the_path() -> None:
    """`nsenter --net=PATH` in another process enters the namespace."""
    with Namespace() as namespace:
        command = ["nsenter", f"--net={namespace.path}", "readlink", "/proc/self/ns/net"]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert result.stdout.strip() == f"net:[{namespace.inode}]"


def test_killed_owner_leaves_no_namespace_and_no_process() -> None:
    """After SIGKILL of the process that created a namespace, the kernel frees it, and the process inside has ended.

    A veth pair between that namespace and ours shows the first: the kernel deletes our end with the namespace.
    """
    owner_text = """
import sys
from testkit.descriptors import open_descriptors
from testkit.links import Links
from monlat_ebpf.testbed.namespace import Namespace
doomed = Namespace("doomed")
with Links(Namespace.current()) as links:
    links.add_veth("wire", doomed, "end")
inside = doomed.popen(["sleep", "1000"])
print(inside.pid, flush=True)
sys.stdin.read()
"""
    with Namespace("witness") as witness, Links(witness) as links:
        owner = witness.popen([sys.executable, "-c", owner_text], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with owner:
            assert owner.stdout is not None
            inside = os.pidfd_open(int(owner.stdout.readline()))
            assert "wire" in links.names()
            owner.send_signal(signal.SIGKILL)
        try:
            assert select.select([inside], [], [], DEADLINE_SECONDS)[0] == [inside]
        finally:
            os.close(inside)
        wait_until(lambda: "wire" not in links.names())


def test_process_outlives_the_thread_that_started_it() -> None:
    """It still runs after its starter thread has ended, although the kernel's death signal depends on the thread."""
    from threading import Thread

    started: list[subprocess.Popen[bytes]] = []
    with Namespace() as namespace:
        thread = Thread(target=lambda: started.append(namespace.popen(["cat"], stdin=subprocess.PIPE, stdout=-1)))
        thread.start()
        thread.join()
        with started[0] as child:
            output, _ = child.communicate(b"alive", timeout=DEADLINE_SECONDS)
    assert (output, child.returncode) == (b"alive", 0)


def test_network_that_cannot_be_built_leaves_nothing_open() -> None:
    """An MTU too small for IPv6 fails halfway with the kernel's reason, and everything created before is closed."""
    Namespace().close()  # the spawner and the libraries have what they keep open
    before = open_descriptors()
    with pytest.raises(TestbedError, match=r"cannot add address fd77::1/64 on eth0 in namespace node1: Inv"):
        Cluster(3, mtu=1000).__enter__()
    assert open_descriptors() == before


def test_closing_closes_every_descriptor() -> None:
    """A cluster of 7 leaves no descriptor open. Using a closed namespace is an error that says so."""
    before = open_descriptors()
    with Cluster(7) as cluster:
        pass
    assert open_descriptors() == before
    with pytest.raises(TestbedError, match="namespace node1 is closed"):
        cluster["node1"].namespace.run(["true"])


def test_error_without_rights_names_the_remedy() -> None:
    """A process without capabilities is told to run as root."""
    text = "from monlat_ebpf.testbed.namespace import Namespace; Namespace()"
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", text]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stderr.splitlines()[-1].endswith(
        "cannot create a network namespace ([Errno 1] unshare: Operation not permitted): "
        "run as root, or with CAP_SYS_ADMIN"
    )


def test_missing_program_is_named() -> None:
    """The error names the program and the namespace."""
    with Namespace("here") as namespace, pytest.raises(TestbedError, match="cannot start no-such in namespace here"):
        namespace.popen(["no-such"])


def test_link_goes_down_and_up_again() -> None:
    """Nothing answers while a node's link is down; it answers again when the link is up."""
    with Pair() as pair, Links(pair["node2"].namespace) as links:
        first, second = pair
        links.set_up("eth0", up=False)
        assert ping(first, second.ipv4).returncode == 1
        links.set_up("eth0")
        links.wait_until_usable("eth0", [second.ipv4])
        with Links(first.namespace) as near:
            near.wait_until_usable("eth0", [first.ipv4])
        assert ping(first, second.ipv4).returncode == 0


def test_mtu_limits_a_packet() -> None:
    """At an MTU of 1400, a ping of 1372 bytes (plus 28 of headers) passes unfragmented, and one of 1373 does not."""
    with Pair(mtu=1400) as pair:
        first, second = pair
        assert ping(first, second.ipv4, "-M", "do", "-s", "1372").returncode == 0
        assert ping(first, second.ipv4, "-M", "do", "-s", "1373").returncode == 1


def test_route_is_added_and_deleted() -> None:
    """An address behind node2 answers while node1 has a route to it."""
    with Pair() as pair, Links(pair["node1"].namespace) as near, Links(pair["node2"].namespace) as far:
        far.add_address("lo", "10.88.0.1/32")
        far.add_address("lo", "fd88::1/128")
        far.wait_until_usable("lo", ["10.88.0.1", "fd88::1"])
        near.add_route("10.88.0.0/24", gateway="10.77.0.2")
        near.add_route("fd88::/64", gateway="fd77::2")
        assert [ping(pair["node1"], address).returncode for address in ("10.88.0.1", "fd88::1")] == [0, 0]
        near.delete_route("10.88.0.0/24")
        near.delete_route("fd88::/64")
        assert [ping(pair["node1"], address).returncode for address in ("10.88.0.1", "fd88::1")] == [2, 2]


def test_token_bucket_delays_packets() -> None:
    """Behind 50 datagrams of 1000 bytes at 1 Mbit/s, a queue of 400 ms, a ping takes over 200 ms."""
    with Pair() as pair, Links(pair["node1"].namespace) as links:
        first, second = pair
        ping(first, second.ipv4)
        links.add_token_bucket("eth0", bits_per_second=1_000_000, burst_bytes=2000, queue_bytes=1_000_000)
        with first.namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(50):
                sock.sendto(bytes(1000 - 42), (second.ipv4, 9))
        assert round_trip_ms(ping(first, second.ipv4, "-W", "5").stdout) > 200
        links.delete_queue("eth0")
        assert ping(first, second.ipv4).returncode == 0
        assert "tbf" not in first.namespace.run(["tc", "qdisc", "show"]).stdout


def round_trip_ms(output: str) -> float:
    return float(output.split(" time=")[1].split()[0])


def test_sysctl_affects_only_its_namespace() -> None:
    """A sysctl that does not exist is an error."""
    own = Path("/proc/sys/net/ipv4/ip_default_ttl")
    before = own.read_text()
    with Namespace("here") as namespace:
        namespace.sysctl("net.ipv4.ip_default_ttl", 37)
        assert namespace.run(["sysctl", "-n", "net.ipv4.ip_default_ttl"]).stdout == "37\n"
        assert own.read_text() == before
        with pytest.raises(TestbedError, match=r"cannot set net\.ipv4\.no_such to 1 in namespace here"):
            namespace.sysctl("net.ipv4.no_such", 1)


def test_vlans_work_or_give_the_kernels_reason() -> None:
    """If the kernel supports VLANs, two ends of VLAN 7 reach each other. If not, the error gives its reason."""
    with Pair() as pair:
        reason = why_no_link_kind("vlan")
        for number, node in enumerate(pair, start=1):
            with Links(node.namespace) as links:
                if reason:
                    with pytest.raises(TestbedError, match=r"cannot add VLAN eth0\.7 in namespace node\d: .*supported"):
                        links.add_vlan("eth0.7", "eth0", 7)
                else:
                    links.add_vlan("eth0.7", "eth0", 7)
                    links.add_address("eth0.7", f"10.66.0.{number}/24")
                    links.set_up("eth0.7")
                    links.wait_until_usable("eth0.7", [f"10.66.0.{number}"])
        assert ping(pair["node1"], "10.77.0.2" if reason else "10.66.0.2").returncode == 0


def test_bonds_work_or_give_the_kernels_reason() -> None:
    """If the kernel supports bonds, one of two wires carries a ping. If not, the error gives its reason."""
    with Namespace("near") as near, Namespace("far") as far, Links(near) as links, Links(far) as far_links:
        for wire in ("wire0", "wire1"):
            links.add_veth(wire, far, wire)
        reason = why_no_link_kind("bond")
        if reason:
            with pytest.raises(TestbedError, match=r"cannot add bond bond0 in namespace near: .*supported"):
                links.add_bond("bond0", ["wire0", "wire1"])
            return
        for number, (ends, namespace) in enumerate(((links, near), (far_links, far)), start=1):
            ends.add_bond("bond0", ["wire0", "wire1"])
            ends.add_address("bond0", f"10.66.0.{number}/24")
            ends.set_up("bond0")
            assert "bond0" in namespace.run(["ip", "-br", "link"]).stdout
        links.wait_until_usable("bond0", ["10.66.0.1"])
        far_links.wait_until_usable("bond0", ["10.66.0.2"])
        assert near.run(["ping", "-c", "1", "-W", "5", "10.66.0.2"]).returncode == 0
