"""`monlat doctor` on paths to other addresses: who stamps the replies, and why there are none."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from monlat_ebpf.testbed.namespace import Namespace
from testkit.actions import FragmentWhole
from testkit.device import RawDevice
from testkit.packets import parse_echo_request
from testkit.pair import Pair
from tests.kernel.doctors import DOCTOR, ECHO, doctor, documented, not_ok


def run(namespace: Namespace, *command: str) -> str:
    done = namespace.run(command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_default_gateways_are_probed() -> None:
    """Over a veth pair, one of each family, the IPv6 one link-local: the driver stamps all ten replies."""
    with Pair() as pair:
        near, far = pair["node1"].namespace, pair["node2"].namespace
        (link,) = json.loads(run(far, "ip", "-json", "-6", "address", "show", "dev", "eth0", "scope", "link"))
        (gateway,) = (address["local"] for address in link["addr_info"] if address)
        run(near, "ip", "route", "add", "default", "via", "10.77.0.2")
        run(near, "ip", "route", "add", "default", "via", "10.77.0.99", "metric", "500")
        run(near, "ip", "-6", "route", "add", "default", "via", gateway, "dev", "eth0")
        status, document = documented(near)
    assert status == 0
    paths = {path["address"]: path for path in document["paths"]}
    assert paths.keys() == {"10.77.0.2", f"{gateway}%eth0"}
    for path in paths.values():
        assert (path["owner"], path["device"], path["reply_device"], path["error"]) == ("gateway", "eth0", "eth0", "")
        assert (path["results"], path["stamped_by"], path["errors"]) == ({"reply": 5}, {"driver": 5}, {})
        assert 0 < path["min_rtt_seconds"] < 1


def test_gateway_that_ignores_echo_is_not_tested() -> None:
    """It is no problem of this host, but the last line does not claim that the path is good."""
    with Pair() as pair:
        near = pair["node1"].namespace
        pair["node2"].namespace.sysctl(ECHO, 1)
        run(near, "ip", "route", "add", "default", "via", "10.77.0.2")
        done = near.run(DOCTOR)
    assert done.returncode == 0
    (path,) = (line for line in done.stdout.splitlines() if line.startswith("skip"))
    assert path.endswith("gateway: not tested: 10.77.0.2 does not answer through eth0")
    assert done.stdout.splitlines()[-1].startswith("the kernel program works here, but no reply")


@contextmanager
def answers_in_fragments(namespace: Namespace) -> Iterator[None]:
    """A device whose far end, 10.78.0.2, answers in two fragments: only the stack can read the replies."""
    with RawDevice(namespace, ["10.78.0.1/24"], kind="tap", name="pieces0") as device:
        ending = threading.Event()

        def answer() -> None:
            while not ending.is_set():
                request = parse_echo_request(device.framing.packet(os.read(device.descriptor, 65536)))
                if request is not None:
                    device.inject(each.packet for each in FragmentWhole().answers(request))

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            run(namespace, "ping", "-c", "1", "-W", "1", "10.78.0.2")  # the thread waits for a packet
            thread.join()


def test_device_whose_replies_only_the_stack_stamps_makes_the_machine_unfit() -> None:
    """All else is ok: exit status 1, and the check names the device, the effect on the RTT, and what to do."""
    with Namespace("tapped") as namespace, answers_in_fragments(namespace):
        status, document = documented(namespace, ["10.78.0.2"])
    checks = {check["name"]: check for check in document["checks"]}
    assert (status, not_ok(checks)) == (1, {"path 10.78.0.2": "fail"})
    path = checks["path 10.78.0.2"]
    assert path["found"] == (
        "5 of 5 probes through pieces0 answered, 5 of the replies stamped by the stack: "
        "no hook saw them at the driver of pieces0"
    )
    assert "microseconds of this host's stack" in path["why"]
    assert "ethtool -i pieces0" in path["remedy"]
    assert document["paths"][0]["stamped_by"] == {"stack": 5}


@pytest.mark.parametrize("hook", ["input", "output"])
def test_firewall_that_drops_all_on_the_path_makes_the_machine_unfit(hook: str) -> None:
    """The driver gets the replies and nft drops them, or nft drops the requests: exit status 1, the firewall named."""
    with Pair() as pair:
        near = pair["node1"].namespace
        device = "iifname" if hook == "input" else "oifname"
        run(near, "nft", f"table inet t {{ chain c {{ type filter hook {hook} priority 0; {device} eth0 drop; }}; }}")
        status, checks = doctor(near, addresses=["10.77.0.2"])
    assert (status, not_ok(checks)) == (1, {"path 10.77.0.2": "fail"})
    found = {
        "input": ": 5 replies reached the driver, and this host dropped them",
        "output": ": a firewall rule of this host refused 5 requests (EPERM)",
    }
    assert checks["path 10.77.0.2"]["found"] == f"0 of 5 probes through eth0 answered{found[hook]}"
    assert "nft list ruleset" in checks["path 10.77.0.2"]["remedy"]
