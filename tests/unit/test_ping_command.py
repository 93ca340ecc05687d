"""The command line of `monlat ping`, before anything is sent."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from monlat_ebpf.cli.main import monlat
from monlat_ebpf.cli.ping import parse_seconds
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Family
from monlat_ebpf.ping.pinger import Plan
from monlat_ebpf.ping.resolve import resolve


@pytest.mark.parametrize(("text", "seconds"), [("1", 1.0), ("0.2", 0.2), (".5", 0.5), ("200ms", 0.2), ("1m", 60.0)])
def test_seconds_are_plain_numbers_or_have_a_unit(text: str, seconds: float) -> None:
    """As ping takes them, and as the agent takes MONLAT_INTERVAL."""
    assert parse_seconds(text, "interval") == seconds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-i", "0.009"], "--interval (MONLAT_INTERVAL): 9ms is out of range; give 10ms to 3600s"),
        (["-i", "often"], "--interval (MONLAT_INTERVAL): 'often' is no duration; "),
        (["-W", "0"], "--timeout (MONLAT_TIMEOUT): 0ms is out of range; give 1ms to 60s"),
        (["-c", "0"], "--count (MONLAT_COUNT): 0 probes measure nothing; "),
        (["-4", "-6"], "--ipv4 (MONLAT_IPV4) and --ipv6 (MONLAT_IPV6) exclude each other: give one, or none"),
        (["-6"], "host '127.0.0.1' has no IPv6 address: "),
    ],
)
def test_an_invalid_command_line_is_a_configuration_error(arguments: list[str], message: str) -> None:
    """Exit status 2 and one line, before a socket is opened."""
    error = CliRunner().invoke(monlat, ["ping", "127.0.0.1", *arguments]).exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith(message)


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
