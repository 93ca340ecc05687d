"""RTT without the peer's dwell, against a peer whose dwell is known to the nanosecond."""

from __future__ import annotations

from statistics import median

import pytest

from monlat_ebpf.abi.histogram import of_samples
from monlat_ebpf.model import Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit.emulated_peer import EmulatedPeer
from testkit.plan import Plan
from testkit.reflector import Reflector
from testkit.waiting import wait_until
from tests.kernel.addresses import reflected_peers
from tests.kernel.measuring import Measurement
from tests.kernel.reported_probes import rejected, reported_probes

PROBES = 97  # few enough that they do not wait for each other: the reflector, in Python, takes longer than the agent
MICROSECOND, MILLISECOND = 1_000, 1_000_000
INTERVAL_SECONDS = 6.0
PEERS_SHARE_NS = 50 * MICROSECOND


@pytest.mark.parametrize("delay_us", [0, 100, 1_000, 10_000, 100_000])
def test_network_rtt_is_the_delay_of_the_network(delay_us: int) -> None:
    """Of 97 probes network RTT and dwell add up to the RTT, to the nanosecond, and no network RTT is too short.

    The reflector is network and peer at once. The delay is the network's, half of it each way. All other time between
    request and answer is the peer's dwell. So the true network RTT is the delay. The TUN device adds to what is
    measured, from the driver's hook to the reflector's clock and back: some 10 us, as bench/accuracy shows. The limit
    here is a hundred times that, so that a busy machine does not fail the test.
    """
    half_ns = delay_us * MICROSECOND // 2
    emulated_peer = EmulatedPeer(forward_ns=half_ns, return_ns=half_ns, after_ns=100 * MICROSECOND)
    plan = Plan(delay_ns=2 * half_ns + PEERS_SHARE_NS, emulated_peer=emulated_peer)
    with Namespace("agent") as namespace, Reflector(namespace, plan) as reflector:
        with Measurement(namespace, reflected_peers(PROBES), interval_seconds=INTERVAL_SECONDS) as measurement:
            measurement.wait()
            wait_until(lambda: len(list(reported_probes(measurement.source, PROBES))) == PROBES)
            pairs = measurement.pairs()
        records = {record.nonce: record for record in reflector.stop()}

    assert measurement.results() == {Result.REPLY: PROBES}
    fed = list(reported_probes(measurement.source, PROBES))
    assert rejected(measurement.source) == {}
    assert all(probe.dwell_ns == emulated_peer.dwell_ns(records[probe.nonce].turnaround_ns) for probe in fed)

    samples = [probe.rtt_ns - probe.dwell_ns for probe in fed]
    sessions = measurement.source.sessions
    assert sessions is not None
    for probe, sample in zip(fed, samples, strict=True):
        assert sessions.network_rtt(probe.target) == of_samples([sample])
    network_sums = sum(pair.network_rtt.sum_ns for pair in pairs if pair.network_rtt)
    assert network_sums + sum(probe.dwell_ns for probe in fed) == sum(pair.rtt.sum_ns for pair in pairs)

    errors = [sample - 2 * half_ns for sample in samples]
    assert min(errors) > 0
    assert median(errors) < MILLISECOND
