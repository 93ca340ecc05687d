"""RTTs at the device itself: from the kernel's stamp of a request to its stamp of the reply, as tcpdump shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Address

from testkit.capture import Packet

_PROTOCOL_ICMP, _REQUEST, _REPLY = 1, 8, 0
_ICMP_HEADER_BYTES = 8


def wire_rtts(packets: Iterable[Packet]) -> dict[tuple[str, int], int]:
    """Return the RTT in ns of the nth request, from 0, that was sent to an address, for each with a reply.

    Packets are in the order in which they passed. A reply belongs to the last request with its identifier and sequence
    number, and the first reply counts.
    """
    sent: Counter[bytes] = Counter()
    waiting: dict[tuple[bytes, bytes], tuple[int, int]] = {}
    rtts: dict[tuple[str, int], int] = {}
    for data, is_sent, at_ns in packets:
        start = (data[0] & 15) * 4
        if data[0] >> 4 != 4 or data[9] != _PROTOCOL_ICMP or len(data) < start + _ICMP_HEADER_BYTES:
            continue
        kind, echo = data[start], data[start + 4 : start + 8]
        if is_sent and kind == _REQUEST:
            to = data[16:20]
            waiting[to, echo] = sent[to], at_ns
            sent[to] += 1
        elif not is_sent and kind == _REPLY and (data[12:16], echo) in waiting:
            source = data[12:16]
            nth, sent_ns = waiting.pop((source, echo))
            rtts[str(IPv4Address(source)), nth] = at_ns - sent_ns
    return rtts
