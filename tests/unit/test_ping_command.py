"""The command line of `monlat ping`, before anything is sent."""

from __future__ import annotations

import pytest

from monlat_ebpf.cli.main import run
from monlat_ebpf.cli.options import Duration
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Family
from monlat_ebpf.ping.pinger import Plan
from monlat_ebpf.ping.resolve import resolve


@pytest.mark.parametrize(("text", "seconds"), [("1", 1.0), ("0.2", 0.2), (".5", 0.5), ("200ms", 0.2), ("1m", 60.0)])
def test_seconds_are_plain_numbers_or_have_a_unit(text: str, seconds: float) -> None:
    """As ping takes them, and as MONLAT_INTERVAL of the agent's container has them."""
    assert Duration(plain_seconds=True).convert(text, None, None) == seconds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["-i", "0.009"],
            "Invalid value for '--interval' / '-i' (env var: 'MONLAT_INTERVAL'): '0.009' is out of range; "
            "give 10ms to 3600s",
        ),
        (
            ["-i", "often"],
            "Invalid value for '--interval' / '-i' (env var: 'MONLAT_INTERVAL'): 'often' is not a duration; ",
        ),
        (
            ["-W", "0"],
            "Invalid value for '--timeout' / '-W' (env var: 'MONLAT_TIMEOUT'): '0' is out of range; give 1ms to 60s",
        ),
        (["-c", "0"], "Invalid value for '--count' / '-c' (env var: 'MONLAT_COUNT'): 0 is not in the range x>=1"),
        (["-4", "-6"], "--ipv4 (MONLAT_IPV4) and --ipv6 (MONLAT_IPV6) exclude each other: give one, or none"),
        (["-6"], "host '127.0.0.1' has no IPv6 address: "),
        (
            ["-I", "127.0.0.1", "-6"],
            "--source-address (MONLAT_SOURCE_ADDRESS): 127.0.0.1 is of the other family than -6; omit one of them",
        ),
        (["-I", "::1"], "host '127.0.0.1' has no IPv6 address: "),
        (
            ["-I", "eth0"],
            "Invalid value for '--source-address' / '-I' (env var: 'MONLAT_SOURCE_ADDRESS'): 'eth0' is not an IPv4 or "
            "IPv6 address; write for example 10.0.0.2 or fd00::2",
        ),
        (["--dscp", "64"], "Invalid value for '--dscp' (env var: 'MONLAT_DSCP'): 64 is not in the range 0<=x<=63"),
    ],
)
def test_invalid_value_is_one_line_and_exit_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error comes before a socket is opened."""
    assert run(["ping", "127.0.0.1", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"monlat: {message}")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "300.1.1.1", "a" * 64 + ".example", "", "a b"])
def test_an_unknown_host_is_one_sentence(host: str) -> None:
    """For whatever reason the resolver fails; exit status 2, as ping has it."""
    with pytest.raises(ConfigError, match=r"^host '.*' has no address: \S.*$") as raised:
        resolve(host)
    assert raised.value.exit_status == 2


def test_addresses_are_taken_as_written() -> None:
    """Addresses of both families; a link-local one keeps its interface, by number (lo is 1)."""
    assert str(resolve("127.0.0.1")) == "127.0.0.1"
    assert str(resolve("::1", Family.IPV6)) == "::1"
    assert str(resolve("fe80::1%lo")) == "fe80::1%1"


def test_the_table_has_room_for_all_in_flight_and_late() -> None:
    """1 s in flight at 10 ms, and a second more for late replies: 201 probes, twice, at 16 slots a target."""
    assert Plan(None, 0.010, 1.0).table_size().targets == 26
    assert Plan(None, 0.010, 0.2).table_size().targets == 16
    assert Plan(1, 1.0, 1.0).table_size().targets == 1
