"""The text output of the doctor."""

from __future__ import annotations

from monlat_ebpf.cli.doctor_text import lines
from monlat_ebpf.doctor.check import Check, Status

CHECKS = (
    Check("BTF", Status.OK, "readable", "offsets come from it"),
    Check("firewall", Status.WARN, "a rule of\nchain \x1b[31mx", "it stops probes", "accept ICMP echo"),
    Check("path", Status.SKIP, "not tested: no address", "loopback is no path", "give an address"),
    Check("port", Status.SKIP, "not checked: no /proc", "it is needed"),
    Check("capabilities", Status.FAIL, "missing: CAP_BPF", "it loads the program", "run as root"),
)


def test_one_line_per_check_with_the_remedy_below() -> None:
    """In a pipe, lines have any length. Line breaks and control characters in findings are removed."""
    assert [line.text for line in lines(CHECKS, None)] == [
        "ok    BTF           readable",
        "warn  firewall      a rule of chain \\x1b[31mx",
        "                    why it matters: it stops probes",
        "                    to fix it: accept ICMP echo",
        "skip  path          not tested: no address",
        "                    to fix it: give an address",
        "skip  port          not checked: no /proc",
        "fail  capabilities  missing: CAP_BPF",
        "                    why it matters: it loads the program",
        "                    to fix it: run as root",
        "an agent cannot measure at driver level here",
    ]
    assert [line.status for line in lines(CHECKS, None)][:2] == [Status.OK, Status.WARN]


def test_long_lines_are_wrapped_at_the_width() -> None:
    """At 44 columns, the rest continues below the finding."""
    assert [line.text for line in lines(CHECKS[1:2], 44)] == [
        "warn  firewall  a rule of chain \\x1b[31mx",
        "                why it matters: it stops",
        "                probes",
        "                to fix it: accept ICMP echo",
        "the kernel program works here, but no reply from another machine was seen at the driver",
    ]
