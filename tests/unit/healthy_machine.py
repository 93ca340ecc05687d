"""Facts of a machine that has everything an agent needs."""

from __future__ import annotations

from dataclasses import replace

from monlat_ebpf.doctor.facts import Facts, Firewall, Measured, NetworkPath, Port, Trial
from monlat_ebpf.host.next_hops import LinkAddressTable
from monlat_ebpf.model import Family, Result
from monlat_ebpf.sources.tracepoint.permission import Rights

NET_RAW, SYS_ADMIN, SYS_RESOURCE, PERFMON, BPF = (1 << bit for bit in (13, 21, 24, 38, 39))  # linux/capability.h

MEASURED = Trial(
    measured=(Measured("127.0.0.1", Result.REPLY, 13_000), Measured("::1", Result.REPLY, 10_000)),
)
BY_DRIVER = Measured("10.0.0.2", Result.REPLY, 43_000, device="eth0", stamped_by="driver")

HEALTHY = Facts(
    release="6.1.0-18-amd64",
    btf_error="",
    libbpf_error="",
    bcc_error="",
    bcc_version="0.26.0 (/usr/lib/python3/dist-packages/bcc/__init__.py)",
    rights=Rights(BPF | PERFMON | NET_RAW),
    tracepoint=replace(MEASURED, beyond=(BY_DRIVER,) * 5),
    socket=MEASURED,
    firewall=Firewall(),
    link_tables={family: LinkAddressTable(entries=818, largest=1024, overflows=0) for family in Family},
    port=10045,
    port_state=Port.FREE,
    sysctls={
        "net.ipv4.icmp_echo_ignore_all": "0",
        "net.ipv4.icmp_ratelimit": "1000",
        "net.ipv4.icmp_ratemask": "6168",
        "net.ipv6.icmp.echo_ignore_all": "0",
        "net.ipv6.icmp.ratelimit": "1000",
        "net.ipv6.icmp.ratemask": "0-1,3-127",
    },
    paths=(NetworkPath("10.0.0.2", "node2", "eth0"),),
)
