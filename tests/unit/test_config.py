"""What an agent may be told, and what the messages say when it may not. Also the reading of flags' texts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from monlat_ebpf.config import AgentConfig, DiscoveryKind
from monlat_ebpf.config_text import duration_text, parse_choice, parse_count, parse_duration, parse_listen
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.sources import SourceChoice


def config(**changes: Any) -> AgentConfig:
    return AgentConfig(**{"node_name": "node1", "peers_file": Path("peers.yaml"), **changes})


def refusal(**changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config(**changes)
    return str(caught.value)


def test_defaults_are_those_of_the_design() -> None:
    """One probe a second, lost after a second, 1000 peers, all addresses, port 10045, the best source."""
    assert dataclasses.asdict(config()) == {
        "node_name": "node1",
        "zone": "",
        "discovery": "static",
        "peers_file": Path("peers.yaml"),
        "kubernetes": {
            "namespace": "",
            "service": "monlat-agents",
            "kubeconfig": "",
            "service_account": Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        },
        "listen_host": "::",
        "listen_port": 10045,
        "interval_seconds": 1.0,
        "timeout_seconds": 1.0,
        "max_peers": 1000,
        "source": "auto",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"interval_seconds": 0.0},
            "--interval (MONLAT_INTERVAL): 0ms is no time between two probes; give 10ms or more, 1s is usual",
        ),
        (
            {"interval_seconds": -1.0},
            "--interval (MONLAT_INTERVAL): -1s is no time between two probes; give 10ms or more, 1s is usual",
        ),
        (
            {"interval_seconds": 0.009},
            "--interval (MONLAT_INTERVAL): 9ms is too short, one probe would wait behind the last; give 10ms or more",
        ),
        (
            {"interval_seconds": 3601.0},
            "--interval (MONLAT_INTERVAL): 3601s is too long for a series of samples; give 1h or less",
        ),
        (
            {"timeout_seconds": 0.0},
            "--timeout (MONLAT_TIMEOUT): 0ms leaves a reply no time to come; give 1ms or more, 1s is usual",
        ),
        (
            {"timeout_seconds": 8.001, "interval_seconds": 2.0},
            "--timeout (MONLAT_TIMEOUT): 8.001s is over 8s, where the histogram ends; give less",
        ),
        (
            {"timeout_seconds": 0.151, "interval_seconds": 0.01},
            "--timeout (MONLAT_TIMEOUT): 151ms is over 15 intervals of 10ms, and no more probes of an address can be "
            "in flight; give 150ms or less, or a longer --interval",
        ),
        (
            {"node_name": ""},
            "--node-name (MONLAT_NODE_NAME): this node has no name, and the host has none to take; "
            "give the name that peers know it by",
        ),
        (
            {"node_name": "n" * 254},
            f"--node-name (MONLAT_NODE_NAME): '{'n' * 40}' is 254 bytes long, and a label holds 253 at most; "
            "give the name that peers know this node by",
        ),
        (
            {"node_name": "no\nde"},
            "--node-name (MONLAT_NODE_NAME): 'no\\nde' holds U+000A, which does not print; "
            "give the name that peers know this node by",
        ),
        ({"zone": " a"}, "--zone (MONLAT_ZONE): ' a' begins or ends with a space; give a short name or nothing"),
        (
            {"peers_file": None},
            "--peers (MONLAT_PEERS): static discovery reads a peers file, and none is named; give --peers FILE",
        ),
        (
            {"discovery": DiscoveryKind.KUBERNETES},
            "--peers (MONLAT_PEERS): discovery kubernetes reads no peers file; "
            "leave --peers out, or take --discovery static",
        ),
        ({"max_peers": 0}, "--max-peers (MONLAT_MAX_PEERS): 0 is out of range; give 1 to 100000"),
        ({"max_peers": 100_001}, "--max-peers (MONLAT_MAX_PEERS): 100001 is out of range; give 1 to 100000"),
        ({"listen_port": 65_536}, "--listen (MONLAT_LISTEN): port 65536 does not exist; give 0 to 65535"),
    ],
)
def test_what_cannot_be_is_refused_with_flag_variable_and_mend(changes: dict[str, Any], message: str) -> None:
    """A setting out of its range raises ConfigError, whose text is this."""
    assert refusal(**changes) == message


def test_limits_themselves_are_allowed() -> None:
    """The shortest and longest times, the longest name and both ends of the other ranges pass."""
    config(interval_seconds=0.010, timeout_seconds=0.150)
    config(interval_seconds=3600.0, timeout_seconds=8.0)
    config(timeout_seconds=0.001)
    config(node_name="n" * 253, zone="z" * 253)
    config(node_name="é" * 126)
    config(max_peers=1, listen_port=0)
    config(max_peers=100_000, listen_port=65_535)


def test_fifteen_intervals_of_100_ms_are_1500_ms() -> None:
    """Fifteen times 0.1 in floating point is under 1.5; the comparison is in nanoseconds, and it passes."""
    assert config(interval_seconds=0.1, timeout_seconds=1.5).timeout_seconds == 1.5


def test_kubernetes_discovery_needs_no_peers_file() -> None:
    """The peers file belongs to static discovery alone."""
    assert config(discovery=DiscoveryKind.KUBERNETES, peers_file=None).peers_file is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
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
def test_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    """A number and a unit; zero needs none, and a negative one is left to the range's check."""
    assert parse_duration(text, "interval") == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "1 s", "1d", "1e3s", "1,5s", "nan", "inf", "--1s", ".5s", "9999999999s", "\u0661s"]
)
def test_what_is_no_duration_says_how_one_is_written(text: str) -> None:
    """The message repeats the text and gives examples."""
    with pytest.raises(ConfigError) as caught:
        parse_duration(text, "interval")
    assert str(caught.value) == (
        f"--interval (MONLAT_INTERVAL): {text!r} is no duration; "
        "write a number and a unit, for example 1s, 200ms or 0.5s"
    )


def test_a_duration_without_unit_is_not_guessed() -> None:
    """`--timeout 5` could be seconds or milliseconds: the message offers both."""
    with pytest.raises(ConfigError, match=r"'5' has no unit; write 5s for seconds or 5ms for milliseconds$"):
        parse_duration("5", "timeout")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "200ms"), (1.0, "1s"), (1.5, "1.5s"), (0.0005, "0.5ms"), (90.0, "90s"), (-0.5, "-500ms")],
)
def test_duration_is_written_as_a_flag_takes_it(seconds: float, text: str) -> None:
    """Under a second in ms, else in s, and it reads back as the same."""
    assert duration_text(seconds) == text
    assert parse_duration(text, "interval") == seconds


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("[::]:10045", "::", 10045),
        (":10045", "::", 10045),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[fd00::2]:65535", "fd00::2", 65535),
        ("localhost:80", "localhost", 80),
        ("node-1.example.org:80", "node-1.example.org", 80),
    ],
)
def test_listen_is_read_as_host_and_port(text: str, host: str, port: int) -> None:
    """Brackets around IPv6 go, and no host means all addresses."""
    assert parse_listen(text, "listen") == (host, port)


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
        (":65536", "port 65536 of ':65536' does not exist; the last one is 65535"),
        ("::1:10045", "'::1:10045' is ambiguous; put the IPv6 address in brackets, for example [::1]:10045"),
        ("[127.0.0.1]:80", "'127.0.0.1' is no IPv6 address; brackets hold nothing else, for example [::]:80"),
        ("10.0.0.256:80", "'10.0.0.256' is neither an address nor a host name; write for example 127.0.0.1:80"),
        ("a b:80", "'a b' is neither an address nor a host name; write for example 127.0.0.1:80"),
    ],
)
def test_what_is_no_listen_address_is_refused(text: str, reason: str) -> None:
    """The message says what is wrong with it and shows one that works."""
    with pytest.raises(ConfigError) as caught:
        parse_listen(text, "listen")
    assert str(caught.value) == f"--listen (MONLAT_LISTEN): {reason}"


def test_unknown_source_lists_the_known_ones() -> None:
    """A misspelt choice is answered with all choices."""
    with pytest.raises(ConfigError) as caught:
        parse_choice("ebpf", "source", SourceChoice)
    assert str(caught.value) == "--source (MONLAT_SOURCE): 'ebpf' is unknown; choose one of auto, tracepoint, socket"


@pytest.mark.parametrize("text", ["", "ten", "1.5", "1_000", "0x10", "1" * 10])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    """Only digits, and few enough, are a count."""
    with pytest.raises(ConfigError, match=r"^--max-peers \(MONLAT_MAX_PEERS\): .* is no whole number"):
        parse_count(text, "max-peers")


def test_count_is_read_as_a_whole_number() -> None:
    """1009 is 1009."""
    assert parse_count("1009", "max-peers") == 1009
