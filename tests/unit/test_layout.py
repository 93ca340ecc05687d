"""Reading the header that C and Python share."""

from __future__ import annotations

import struct

import pytest

from monlat_ebpf.abi import layout


def test_constants_of_the_header() -> None:
    """Magic, version, 16 probes of a target in flight, 8 buckets to the octave from 2^-20 s to 2^3 s."""
    assert layout.PAYLOAD_MAGIC.to_bytes(4, "little") == b"mnlt"
    assert layout.PAYLOAD_VERSION == 1
    assert (layout.BUCKETS_PER_OCTAVE, layout.LOWEST_OCTAVE, layout.HIGHEST_OCTAVE) == (8, -20, 3)
    assert layout.BUCKETS == 23 * 8 + 2
    assert layout.PROBES_PER_TARGET == 16


def test_payload_is_the_56_bytes_of_the_wire_format() -> None:
    """Every field begins where the one before it ends."""
    assert layout.PAYLOAD.size == 56
    assert {name: member.offset for name, member in layout.PAYLOAD.members.items()} == {
        "magic": 0, "version": 4, "known": 5, "reserved": 6, "slot": 8,
        "sequence": 12, "nonce": 16, "feedback": 24, "stream": 48,
    }  # fmt: skip
    assert layout.STRUCTS["feedback"].size == 24


def test_probe_and_target_are_laid_out_as_c_does() -> None:
    """Sizes and offsets counted by hand from the header's members."""
    assert layout.PROBE.size == 96
    assert {name: member.offset for name, member in layout.PROBE.members.items()} == {
        "nonce": 0, "sent": 8, "deadline": 16, "address": 24, "transmitted": 40, "received": 48,
        "device": 56, "error_type": 60, "error_code": 61, "replies": 62, "errors": 63, "reply_device": 64,
        "stamped_by": 68, "is_original": 70, "stamps": 72,
    }  # fmt: skip
    assert layout.PROBE.format == "<QQQ16sQQIBBBBIHHQQIHH"
    assert {name: member.offset for name, member in layout.STAMPS.members.items()} == {
        "own": 0, "other": 8, "other_device": 16, "checksum_owed": 20, "forwarded": 22,
    }  # fmt: skip
    assert layout.TARGET.size == 4 * 8 + 186 * 4
    assert layout.HISTOGRAM.offset("buckets") == 16
    assert layout.TARGET.offset("late") == 16 + 186 * 4
    assert layout.COUNTS.size == (9 + 4) * 8


def test_reasons_are_in_the_order_of_the_array() -> None:
    """The array has an element for each: first those of unmatched packets, then those of rejected feedback."""
    constants = [f"UNMATCHED_{reason.upper()}" for reason in layout.UNMATCHED_REASONS]
    constants += [f"FEEDBACK_{reason.upper()}" for reason in layout.FEEDBACK_REASONS]
    assert [layout.CONSTANTS[constant] for constant in constants] == list(range(9 + 4))


@pytest.mark.parametrize(
    ("expression", "value"),
    [("7", 7), ("0x10", 16), ("-20", -20), ("(3 - -20) * 8 + 2", 186), ("1 << SEVEN", 128), ("SEVEN + 1 /* why */", 8)],
)
def test_constant_expressions(expression: str, value: int) -> None:
    """Integers, + - * <<, brackets and constants defined before are understood; comments are ignored."""
    assert layout.parse_constants(f"#define SEVEN 7\n#define X {expression}\n")["X"] == value


def test_include_guard_is_no_constant() -> None:
    """A #define without a value is no constant, and does not take the value of the next line."""
    assert layout.parse_constants("#ifndef X_H\n#define X_H\n\n#define ONE 1\n#endif\n") == {"ONE": 1}


@pytest.mark.parametrize("expression", ["8 / 3", "~1", "UNKNOWN + 1", "sizeof(1)", '"text"'])
def test_unknown_expression_is_an_error(expression: str) -> None:
    """If Python would compute something else than C, or nothing, the error names the expression."""
    with pytest.raises(ValueError, match="cannot evaluate"):
        layout.parse_constants(f"#define X {expression}\n")


def test_struct_members() -> None:
    """Arrays, nested structs and numbers take the bytes that C gives them."""
    inner = "struct inner {\n\tu32 a;\n\tu16 b[2];\n};\n"
    outer = "struct outer {\n\tu64 c; /* ; */\n\tstruct inner d;\n\tu8 e[N];\n};\n"
    layouts = layout.parse_structs(inner + outer, {"N": 8})
    assert layouts["inner"].size == 8
    assert layouts["inner"].members == {"a": layout.Member(0, "I"), "b": layout.Member(4, "2H", 2, tuple)}
    assert layouts["outer"].format == "<QI2H8s"
    assert layouts["outer"].size == 24
    assert layouts["outer"].offset("e") == 16


RECORDS = layout.parse_structs(
    "struct pair {\n\tu32 a;\n\tu16 b[2];\n};\nstruct whole {\n\tu64 c;\n\tstruct pair d;\n\tu8 e[8];\n};\n", {}
)


def test_record_has_the_names_of_c() -> None:
    """The second struct of an array: numbers, an array of u16, a struct, and an array of u8."""
    memory = bytearray(24) + struct.pack("<QIHH8s", 1, 2, 3, 4, b"12345678")
    record = RECORDS["whole"].read(memory, 1)
    assert (record.c, record.d.a, record.d.b, record.e) == (1, 2, (3, 4), b"12345678")
    assert RECORDS["whole"].read(bytes(memory[24:])) == record


def test_part_reads_and_writes_only_its_members() -> None:
    """Written into the second struct of an array: the bytes around the part stay, and so does the first struct."""
    memory = bytearray(b"\xff" * 48)
    part = RECORDS["whole"].part("c", "d")
    part.write(memory, 1, 1, 2, 3, 4)
    assert memory == b"\xff" * 24 + struct.pack("<QIHH", 1, 2, 3, 4) + b"\xff" * 8
    assert part.read(memory, 1).d.b == (3, 4)
    part.clear(memory, 1)
    assert memory == b"\xff" * 24 + bytes(16) + b"\xff" * 8
    assert part.pack(1, 2, 3, 4) == struct.pack("<QIHH", 1, 2, 3, 4)


def test_nested_struct_is_read_at_its_offset() -> None:
    """Only the member `d` of the second struct of an array is read."""
    memory = bytearray(24) + struct.pack("<QIHH8x", 1, 2, 3, 4)
    record = RECORDS["whole"].nested("d", RECORDS["pair"]).read(memory, 1)
    assert (record.a, record.b) == (2, (3, 4))


def test_map_is_read_by_name() -> None:
    """Name, struct and number of entries of a declaration; the macros in the number are left to the caller."""
    maps = layout.parse_maps('BPF_F_TABLE("array", u32, struct pair, pairs, N * 2, BPF_F_MMAPABLE);\n', RECORDS)
    assert maps == {"pairs": layout.Map(RECORDS["pair"], "N * 2")}


def test_maps_of_the_header() -> None:
    """All seven maps of bpf/maps.h, in its order."""
    assert list(layout.MAPS) == [
        "probes", "targets", "exchanges", "sessions", "peer_index", "settings", "counts",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("u8 a;\n\tu32 b;", "b at byte 1 is not aligned"),
        ("u64 a;\n\tu32 b;", "pad its 12 bytes to a multiple of 8"),
        ("unsigned int a : 3;", "cannot read 'unsigned int a : 3'"),
        ("struct y a[2];", "cannot read 'struct y a"),
    ],
)
def test_unreadable_or_padded_struct_is_an_error(members: str, message: str) -> None:
    """Padding between members or at the end would move what the other side reads."""
    with pytest.raises(ValueError, match=message):
        layout.parse_structs(f"struct x {{\n\t{members}\n}};\n", {})
