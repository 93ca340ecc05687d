"""After 2^32 probes the sequence in the payload begins again, as the one in the ICMP header does after 2^16."""

from __future__ import annotations

from ipaddress import ip_address

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.model import Peer, Result
from monlat_ebpf.probing.feedback import FeedbackChannel
from monlat_ebpf.probing.prober import Prober
from monlat_ebpf.sources.tracepoint.source import TracepointSource
from testkit.pair import Pair
from tests.kernel.measuring import Measurement
from tests.kernel.two_agents import FOR_EVER, as_peer

FIRST, PROBES = 2**32 - 33, 63
INTERVAL_SECONDS, TIMEOUT_SECONDS = 0.02, 0.28
RULES = """
table ip loss {
    chain requests { type filter hook input priority 0; icmp type echo-request icmp sequence { 65534, 2, 5 } drop; }
    chain replies { type filter hook output priority 0; icmp type echo-reply icmp sequence { 65535, 0, 4 } drop; }
}
"""


def test_sequence_beyond_32_bits() -> None:
    """63 probes, the first 33 before 2^32; the peer loses requests and replies on both sides of it, 3 each.

    Every other probe has its reply, and the peer's reports tell the direction of each loss.
    """
    results: dict[int, Result] = {}
    with Pair() as pair:
        near, far = pair.nodes
        assert far.namespace.run(["nft", RULES]).returncode == 0
        with near.namespace.entered():
            source = TracepointSource(TableSize(1))
        try:
            prober = Prober(
                source,
                interval_seconds=INTERVAL_SECONDS,
                timeout_seconds=TIMEOUT_SECONDS,
                max_peers=1,
                count=FIRST + PROBES,
                feedback=FeedbackChannel.of(source),
                on_outcome=lambda _, outcome: results.update({outcome.sequence: outcome.result}),
            )
            prober.set_peers([Peer("far", (ip_address(far.ipv4),))])
            [target] = prober.targets()
            target.ledger.sent = FIRST
            near_alone = [Peer("near", as_peer(near).addresses[:1])]
            with Measurement(far.namespace, near_alone, probes=FOR_EVER, interval_seconds=INTERVAL_SECONDS):
                prober.run()
            unmatched = source.table.unmatched_packets()
        finally:
            source.close()
    expected = dict.fromkeys(range(FIRST, FIRST + PROBES), Result.REPLY)
    expected.update(dict.fromkeys((2**32 - 2, 2**32 + 2, 2**32 + 5), Result.LOST_FORWARD))
    expected.update(dict.fromkeys((2**32 - 1, 2**32, 2**32 + 4), Result.LOST_RETURN))
    assert results == expected
    assert [reason for reason, count in unmatched.items() if count and reason != "not_transmitted"] == []
