"""Reading the header that C and Python share."""

from __future__ import annotations

import pytest

from monlat_ebpf.abi import layout


def test_constants_of_the_header() -> None:
    """The values that DESIGN sections 4 and 6 fix: magic, version, 8 buckets to the octave from 2^-20 s to 2^3 s."""
    assert layout.PAYLOAD_MAGIC.to_bytes(4, "little") == b"mnlt"
    assert layout.PAYLOAD_VERSION == 1
    assert (layout.BUCKETS_PER_OCTAVE, layout.LOWEST_OCTAVE, layout.HIGHEST_OCTAVE) == (8, -20, 3)
    assert layout.BUCKETS == 23 * 8 + 2
    assert layout.PROBES_PER_TARGET == 16


def test_payload_is_the_56_bytes_of_the_wire_format() -> None:
    """Every field stands where DESIGN section 4 puts it, with nothing between them."""
    assert layout.PAYLOAD.size == 56
    assert {name: member.offset for name, member in layout.PAYLOAD.members.items()} == {
        "magic": 0, "version": 4, "flags": 5, "reserved": 6, "slot": 8,
        "sequence": 12, "nonce": 16, "feedback": 24, "padding": 48,
    }  # fmt: skip
    assert layout.STRUCTS["feedback"].size == 24


def test_probe_and_target_are_laid_out_as_c_does() -> None:
    """Sizes and offsets counted by hand from the header's members."""
    assert layout.PROBE.size == 64
    assert {name: member.offset for name, member in layout.PROBE.members.items()} == {
        "nonce": 0, "sent": 8, "deadline": 16, "address": 24, "transmitted": 40, "received": 48,
        "device": 56, "error_type": 60, "error_code": 61, "replies": 62, "errors": 63,
    }  # fmt: skip
    assert layout.PROBE.format == "<QQQ16sQQIBBBB"
    assert layout.TARGET.size == 4 * 8 + 186 * 8
    assert layout.TARGET.offset("buckets") == 32
    assert layout.UNMATCHED.size == 10 * 8


def test_unmatched_reasons_are_in_the_order_of_the_array() -> None:
    """The n-th name is that of the constant n, and the array has a place for each."""
    assert len(layout.UNMATCHED_REASONS) == layout.CONSTANTS["UNMATCHED_REASONS"]
    assert [layout.CONSTANTS[f"UNMATCHED_{reason.upper()}"] for reason in layout.UNMATCHED_REASONS] == list(range(10))


@pytest.mark.parametrize(
    ("expression", "value"),
    [("7", 7), ("0x10", 16), ("-20", -20), ("(3 - -20) * 8 + 2", 186), ("1 << SEVEN", 128), ("SEVEN + 1 /* why */", 8)],
)
def test_constant_expressions(expression: str, value: int) -> None:
    """Integers, + - * <<, brackets and constants defined before are understood; comments are not looked at."""
    assert layout.parse_constants(f"#define SEVEN 7\n#define X {expression}\n")["X"] == value


def test_a_guard_has_no_value() -> None:
    """A #define without a value is no constant, and does not take the next line's."""
    assert layout.parse_constants("#ifndef X_H\n#define X_H\n\n#define ONE 1\n#endif\n") == {"ONE": 1}


@pytest.mark.parametrize("expression", ["8 / 3", "~1", "UNKNOWN + 1", "sizeof(1)", '"text"'])
def test_what_is_not_understood_is_an_error(expression: str) -> None:
    """Where Python would compute something else than C, or nothing, the header is refused and the text named."""
    with pytest.raises(ValueError, match="cannot evaluate"):
        layout.parse_constants(f"#define X {expression}\n")


def test_struct_members() -> None:
    """Arrays, nested structs and numbers take the bytes that C gives them."""
    inner = "struct inner {\n\tu32 a;\n\tu16 b[2];\n};\n"
    outer = "struct outer {\n\tu64 c; /* ; */\n\tstruct inner d;\n\tu8 e[N];\n};\n"
    layouts = layout.parse_structs(inner + outer, {"N": 8})
    assert layouts["inner"] == layout.Layout(8, {"a": layout.Member(0, "I"), "b": layout.Member(4, "2H")})
    assert layouts["outer"].format == "<QI2H8s"
    assert layouts["outer"].size == 24
    assert layouts["outer"].offset("e") == 16


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("u8 a;\n\tu32 b;", "b at byte 1 is not aligned"),
        ("u64 a;\n\tu32 b;", "pad its 12 bytes to a multiple of 8"),
        ("unsigned int a : 3;", "cannot read 'unsigned int a : 3'"),
    ],
)
def test_a_struct_that_c_would_pad_is_refused(members: str, message: str) -> None:
    """Between members or at the end: padding would move what the other side reads."""
    with pytest.raises(ValueError, match=message):
        layout.parse_structs(f"struct x {{\n\t{members}\n}};\n", {})
