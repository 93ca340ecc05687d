"""RTT without the peer's dwell, against a peer whose share of every answer's time is known to the nanosecond."""

from __future__ import annotations

from statistics import median

import pytest

from monlat_ebpf.abi.histogram import of_samples
from monlat_ebpf.model import Result
from monlat_ebpf.testbed.namespace import Namespace
from testkit.emulated_peer import EmulatedPeer
from testkit.plan import Plan
from testkit.reflector import Reflector
from tests.kernel.addresses import reflected_peers
from tests.kernel.measuring import Measurement
from tests.kernel.reported_probes import rejected, reported_probes

PROBES = 997
MICROSECOND = 1_000
# A probe each 1.5 ms. At one each 10 ms the processors' caches have forgotten the TUN device and the reflector by the
# next, which is 10 us more of error here, and nothing of it the network's or the kernel program's.
INTERVAL_SECONDS = 6.0
PEERS_SHARE_NS = 50 * MICROSECOND


@pytest.mark.parametrize("delay_us", [0, 100, 1_000, 10_000, 100_000])
def test_network_rtt_is_what_the_network_took(delay_us: int) -> None:
    """Of 997 probes network RTT and dwell make up the RTT, to the nanosecond; the median error is under 15 us.

    The reflector is network and peer at once: the delay is the network's, half of it each way, and all else between
    request and answer is the peer's dwell. So the true network RTT is the delay. What is measured above that is the TUN
    device, from the driver's hook to the reflector's clock and back.
    """
    half_ns = delay_us * MICROSECOND // 2
    emulated_peer = EmulatedPeer(forward_ns=half_ns, return_ns=half_ns, after_ns=100 * MICROSECOND)
    plan = Plan(delay_ns=2 * half_ns + PEERS_SHARE_NS, emulated_peer=emulated_peer)
    with Namespace("agent") as namespace, Reflector(namespace, plan) as reflector:
        with Measurement(namespace, reflected_peers(PROBES), interval_seconds=INTERVAL_SECONDS) as measurement:
            measurement.wait()
            pairs = measurement.pairs()
        records = {record.nonce: record for record in reflector.stop()}

    assert measurement.results() == {Result.REPLY: PROBES}
    fed = list(reported_probes(measurement.source, PROBES))
    assert len(fed) == PROBES
    assert rejected(measurement.source) == {}
    assert all(probe.dwell_ns == emulated_peer.dwell_ns(records[probe.nonce].turnaround_ns) for probe in fed)

    samples = [probe.rtt_ns - probe.dwell_ns for probe in fed]
    sessions = measurement.source.sessions
    assert sessions is not None
    for probe, sample in zip(fed, samples, strict=True):
        assert sessions.network_rtt(probe.target) == of_samples([sample])
    network_sums = sum(pair.network_rtt.sum_ns for pair in pairs if pair.network_rtt)
    assert network_sums + sum(probe.dwell_ns for probe in fed) == sum(pair.rtt.sum_ns for pair in pairs)

    errors = sorted(sample - 2 * half_ns for sample in samples)
    assert errors[0] > 0
    assert median(errors) < 15 * MICROSECOND, f"least {errors[0]} ns, 99th percentile {errors[986]} ns"
