"""Offsets in kernel structs, compared with what bpftool prints of the same types."""

from __future__ import annotations

import re
import subprocess

import pytest

from monlat_ebpf.abi.probes import TableSize
from monlat_ebpf.errors import SourceError
from monlat_ebpf.sources.tracepoint.btf import VMLINUX, KernelTypes
from monlat_ebpf.sources.tracepoint.loader import CHILD, load
from monlat_ebpf.sources.tracepoint.program import HOOKS, defines

TYPE = re.compile(r"\[(\d+)\] (STRUCT|UNION) '(.+?)' ")
MEMBER = re.compile(r"\t'(.+?)' type_id=(\d+) bits_offset=(\d+)")


@pytest.fixture(scope="module")
def dump() -> str:
    done = subprocess.run(["bpftool", "btf", "dump", "file", str(VMLINUX)], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def dumped(dump: str) -> dict[str, list[tuple[str, str, int]]]:
    """Members (name, number of type, offset in bits) of each struct and union, by number, and by name if it has one."""
    types: dict[str, list[tuple[str, str, int]]] = {}
    members: list[tuple[str, str, int]] = []
    for line in dump.splitlines():
        if begins := TYPE.match(line):
            number, kind, name = begins.groups()
            members = types[number] = []
            if kind == "STRUCT" and name != "(anon)":
                types.setdefault(name, members)
        elif found := MEMBER.match(line):
            members.append((found[1], found[2], int(found[3])))
    return types


def flattened(types: dict[str, list[tuple[str, str, int]]], name: str, base: int = 0) -> dict[str, int]:
    """Return the byte offset of each member of a struct, including those of unnamed parts."""
    offsets: dict[str, int] = {}
    for member, kind, bits in types.get(name, []):
        if member == "(anon)":
            offsets |= flattened(types, kind, base + bits)
        else:
            offsets[member] = (base + bits) // 8
    return offsets


@pytest.mark.parametrize("struct", ["sk_buff", "net_device", "net", "ns_common"])
def test_offsets_are_those_of_bpftool(struct: str, dumped: dict[str, list[tuple[str, str, int]]]) -> None:
    """Every member of every struct that the program reads, including bit-fields and unnamed unions."""
    expected = flattened(dumped, struct)
    types = KernelTypes()
    assert len(expected) >= 3
    assert {member: types.offset(struct, member) for member in expected} == expected


def test_members_that_are_read_have_their_own_offsets(dumped: dict[str, list[tuple[str, str, int]]]) -> None:
    """Those of sk_buff and, through two structs, the number of a network namespace."""
    values = defines(KernelTypes(), TableSize(2))
    offsets = flattened(dumped, "sk_buff")
    for member in ("len", "data_len", "skb_iif", "protocol", "network_header", "head", "data", "dev", "sk"):
        assert values[f"SKB_{member.upper()}"] == offsets[member]
    assert values["NET_NS_INUM"] == flattened(dumped, "net")["ns"] + flattened(dumped, "ns_common")["inum"]


@pytest.mark.parametrize("name", HOOKS)
def test_types_of_tracepoints_are_those_of_bpftool(name: str, dump: str) -> None:
    """Each type is listed with its number."""
    (line,) = (line for line in dump.splitlines() if f" TYPEDEF 'btf_trace_{name}' " in line)
    assert line.startswith(f"[{KernelTypes().tracepoint(name)}] ")


def test_missing_tracepoint_is_named() -> None:
    with pytest.raises(SourceError, match="no tracepoint no_such_hook"):
        KernelTypes().tracepoint("no_such_hook")


@pytest.mark.parametrize(("struct", "member"), [("sk_buff", "no_such_member"), ("no_such_struct", "len")])
def test_missing_struct_or_member_is_named(struct: str, member: str) -> None:
    """The error names the struct and the member that this kernel does not have."""
    with pytest.raises(SourceError, match=f"struct {struct} has no {member}"):
        KernelTypes().offset(struct, member)


def test_missing_btf_names_the_kernel_option() -> None:
    """If /sys/kernel/btf is empty, the error names the kernel option and the other source."""
    hidden = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {VMLINUX.parent} && exec "$@"', "sh")
    with pytest.raises(SourceError, match="CONFIG_DEBUG_INFO_BTF=y, or --source socket"):
        load(TableSize(2), child=(*hidden, *CHILD))
