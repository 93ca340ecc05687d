"""The text of the kernel program, and the macros that it is compiled with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from monlat_ebpf.abi import layout
from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.model import Family
from monlat_ebpf.sources.tracepoint.btf import KernelTypes

HOOKS: Final[Mapping[str, str]] = {
    "net_dev_start_xmit": "monlat_transmit",
    "napi_gro_receive_entry": "monlat_receive",
    "napi_gro_frags_entry": "monlat_receive",
    "netif_rx": "monlat_receive",
    "netif_receive_skb": "monlat_receive",
}
"""Raw tracepoint to function."""

FILTERS: Final[Mapping[Family, str]] = {Family.IPV4: "monlat_ipv4", Family.IPV6: "monlat_ipv6"}
"""Address family of a raw socket to the function that filters what it receives."""

_READ: Final = ("len", "data_len", "protocol", "skb_iif", "network_header", "head", "data")


def text() -> str:
    """Return the program as one text: BCC rewrites table access only in the main file."""
    return _inline(layout.program_directory(), "hooks.c")


def _inline(directory: Path, name: str) -> str:
    lines = [f'#line 1 "{name}"']
    for number, line in enumerate((directory / name).read_text(encoding="ascii").splitlines(), start=1):
        included = re.fullmatch(r'#include "(.+)"', line)
        lines += [_inline(directory, included[1]), f'#line {number + 1} "{name}"'] if included else [line]
    return "\n".join(lines)


def defines(types: KernelTypes, size: TableSize) -> dict[str, int]:
    """Return the macros that depend on this kernel, this network namespace and the size of the maps."""
    ip_summed = types.bit_offset("sk_buff", "ip_summed")
    return {
        **size.defines(),
        "NETNS_INODE": Path("/proc/self/ns/net").stat().st_ino,
        "NET_DEVICE_ND_NET": types.offset("net_device", "nd_net"),
        "NET_DEVICE_IFINDEX": types.offset("net_device", "ifindex"),
        "NET_DEVICE_PRIV_FLAGS": types.offset("net_device", "priv_flags"),
        "NET_NS_INUM": types.offset("net", "ns") + types.offset("ns_common", "inum"),
        "SKB_DEV": types.offset("sk_buff", "dev"),
        "SKB_SK": types.offset("sk_buff", "sk"),
        "SKB_FRAG0": types.offset("sk_buff", "cb") + types.offset("napi_gro_cb", "frag0"),
        "SKB_IP_SUMMED": ip_summed // 8,
        "SKB_IP_SUMMED_BIT": ip_summed % 8,
        "SOCK_COOKIE": types.offset("sock", "__sk_common") + types.offset("sock_common", "skc_cookie"),
        **{f"SKB_{member.upper()}": types.offset("sk_buff", member) for member in _READ},
    }
