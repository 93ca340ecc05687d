"""The flags' own types: durations and listen addresses."""

from __future__ import annotations

from typing import Any

import click
import pytest

from monlat_ebpf.cli.options import Degree, Duration, Histograms, Listen
from monlat_ebpf.config import PeerChoice
from monlat_ebpf.config_text import duration_text


def error_of(kind: click.ParamType[Any], text: str) -> str:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        (".5s", 0.5),
        ("200ms", 0.2),
        ("0.5s", 0.5),
        ("250us", 0.00025),
        ("2m", 120.0),
        ("1h", 3600.0),
        (" 3s ", 3.0),
        ("0", 0.0),
        ("-1s", -1.0),
    ],
)
def test_duration_is_converted_to_seconds(text: str, seconds: float) -> None:
    """A number and a unit. Zero needs no unit; the range of the setting excludes negative durations."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "1 s", "1d", "1e3s", "1,5s", "nan", "inf", "--1s", ".s", "9999999999s", "\u0661s"]
)
def test_invalid_duration_error_shows_examples(text: str) -> None:
    """The message repeats the value and has examples."""
    assert error_of(Duration(), text) == (
        f"{text!r} is not a duration; write a number and a unit, for example 1s, 200ms or 0.5s"
    )


def test_unit_of_a_duration_is_not_guessed() -> None:
    """`--timeout 5` could mean seconds or milliseconds: the message offers both."""
    assert error_of(Duration(), "5") == "'5' has no unit; write 5s or 5ms"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "200ms"), (1.0, "1s"), (1.5, "1.5s"), (0.0005, "0.5ms"), (90.0, "90s"), (-0.5, "-500ms")],
)
def test_duration_text_is_a_valid_value_of_a_flag(seconds: float, text: str) -> None:
    """Below a second in ms, else in s; converting it back gives the same duration."""
    assert duration_text(seconds) == text
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize(
    ("text", "choice"),
    [("32", 32), (" 2 ", 2), ("130", 130), ("all", PeerChoice.ALL), ("AUTO", PeerChoice.AUTO), (PeerChoice.ALL, "all")],
)
def test_degree_is_a_number_or_all_or_auto(text: str, choice: int | PeerChoice) -> None:
    """The range is checked with the other settings. click converts a default again."""
    assert Degree().convert(text, None, None) == choice


@pytest.mark.parametrize("text", ["", "-2", "2.0", "some", "alls", "\u0662", "9999999999"])
def test_invalid_degree_error_shows_what_to_write(text: str) -> None:
    """The message repeats the value."""
    assert error_of(Degree(), text) == (
        f"{text!r} is not a number of nodes; write an even number such as 32, or all or auto"
    )


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("[::]:10045", "::", 10045),
        (":10045", "::", 10045),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[fd00::2]:65535", "fd00::2", 65535),
        ("[10.0.0.2]:80", "10.0.0.2", 80),
        ("localhost:80", "localhost", 80),
        ("node-1.example.org:80", "node-1.example.org", 80),
    ],
)
def test_listen_is_converted_to_host_and_port(text: str, host: str, port: int) -> None:
    """Brackets around an address of either family are removed. No host means all addresses."""
    assert Listen().convert(text, None, None) == (host, port)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10045", "'10045' is not HOST:PORT; write for example [::]:10045, 127.0.0.1:10045 or :10045"),
        ("[::]", "'[::]' is not HOST:PORT; write for example [::]:10045, 127.0.0.1:10045 or :10045"),
        (
            "localhost:http",
            "'localhost:http' is not HOST:PORT; write for example [::]:10045, 127.0.0.1:10045 or :10045",
        ),
        (":-1", "':-1' is not HOST:PORT; write for example [::]:10045, 127.0.0.1:10045 or :10045"),
        ("::1:10045", "'::1:10045' is ambiguous; write the IPv6 address in brackets, as in [::1]:10045"),
        ("[node1]:80", "'node1' is not an address; only those have brackets, for example [::]:80"),
        ("10.0.0.256:80", "'10.0.0.256' is neither an address nor a host name; write for example 127.0.0.1:80"),
        ("a b:80", "'a b' is neither an address nor a host name; write for example 127.0.0.1:80"),
    ],
)
def test_invalid_listen_error_shows_a_valid_value(text: str, reason: str) -> None:
    """The message says what is wrong and has an example that works."""
    assert error_of(Listen(), text) == reason


@pytest.mark.parametrize("text", ["99ms", "0", "-1s", "3600.1s", "2h"])
def test_duration_out_of_range_error_gives_the_range(text: str) -> None:
    """Both limits are in the message; the limits themselves are allowed."""
    kind = Duration(0.1, 3600.0)
    assert error_of(kind, text) == f"{text!r} is out of range; give 100ms to 3600s"
    assert [kind.convert(limit, None, None) for limit in ("100ms", "1h")] == [0.1, 3600.0]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("rtt", ["rtt"]),
        ("dwell, RTT", ["rtt", "dwell"]),
        ("rtt,network,dwell", ["rtt", "network", "dwell"]),
        ("none", []),
    ],
)
def test_histograms_are_named_with_commas(text: str, kinds: list[str]) -> None:
    """In any order, with spaces or without; `none` for no histogram."""
    assert list(Histograms().convert(text, None, None)) == kinds


@pytest.mark.parametrize("text", ["", "rtts", "rtt,", "rtt,none"])
def test_invalid_histogram_error_shows_the_names(text: str) -> None:
    """The error names what is wrong, and what can be written."""
    assert "write names of rtt, network, dwell with commas, or none" in error_of(Histograms(), text)
