"""The doctor's lines."""

from __future__ import annotations

from monlat_ebpf.cli.doctor_text import lines
from monlat_ebpf.doctor.check import Check, Status

CHECKS = (
    Check("BTF", Status.OK, "readable", "offsets come from it"),
    Check("firewall", Status.WARN, "a rule of\nchain \x1b[31mx", "it stops probes", "accept ICMP echo"),
    Check("capabilities", Status.FAIL, "missing: CAP_BPF", "it loads the program", "run as root"),
)


def test_a_line_a_check_and_what_to_do_under_it() -> None:
    """Plain lines of any length for a pipe, without line breaks or colours out of what was found."""
    assert [line.text for line in lines(CHECKS, None)] == [
        "ok    BTF           readable",
        "warn  firewall      a rule of chain \\x1b[31mx",
        "                    why it matters: it stops probes",
        "                    to fix it: accept ICMP echo",
        "fail  capabilities  missing: CAP_BPF",
        "                    why it matters: it loads the program",
        "                    to fix it: run as root",
        "an agent cannot measure at driver level here",
    ]
    assert [line.status for line in lines(CHECKS, None)][:2] == [Status.OK, Status.WARN]


def test_lines_are_broken_to_the_terminal() -> None:
    """44 columns: what does not fit goes on below what was found."""
    assert [line.text for line in lines(CHECKS[1:2], 44)] == [
        "warn  firewall  a rule of chain \\x1b[31mx",
        "                why it matters: it stops",
        "                probes",
        "                to fix it: accept ICMP echo",
        "an agent can measure at driver level here",
    ]
