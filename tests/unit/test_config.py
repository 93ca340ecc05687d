"""The settings of an agent, and the messages for wrong ones."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from monlat_ebpf.config import AgentConfig, DiscoveryKind, KubernetesConfig, PeerChoice
from monlat_ebpf.errors import ConfigError
from monlat_ebpf.model import Shown


def config(**changes: Any) -> AgentConfig:
    return AgentConfig(**{"node_name": "node1", "peers_file": Path("peers.yaml"), **changes})


def refusal(**changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config(**changes)
    return str(caught.value)


def test_defaults() -> None:
    """A probe every second, lost after a second, all nodes or 32, all addresses, port 10045, the best source."""
    assert dataclasses.asdict(config()) == {
        "node_name": "node1",
        "zone": "",
        "discovery": "static",
        "peers_file": Path("peers.yaml"),
        "targets_file": None,
        "kubernetes": {
            "namespace": "",
            "service": "monlat-agents",
            "kubeconfig": "",
            "service_account": Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        },
        "listen": (("::", 10045),),
        "web_config": None,
        "interval_seconds": 1.0,
        "timeout_seconds": 1.0,
        "probe_neighbours": "auto",
        "max_peers": 1000,
        "dscp": 0,
        "source_addresses": (),
        "source": "auto",
        "shown": {"histograms": ("rtt", "network", "dwell"), "detail": "peer", "worst": 0},
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shown": Shown(worst=-1)}, "--worst (MONLAT_WORST): -1 is out of range; give 0 to 100000"),
        (
            {"shown": Shown(worst=5)},
            "--worst (MONLAT_WORST): --detail peer shows every pair in full; give --detail zone or none, "
            "or omit --worst",
        ),
        (
            {"interval_seconds": 0.0},
            "--interval (MONLAT_INTERVAL): 0ms is not a time between two probes; give 10ms or more, for example 1s",
        ),
        (
            {"interval_seconds": -1.0},
            "--interval (MONLAT_INTERVAL): -1s is not a time between two probes; give 10ms or more, for example 1s",
        ),
        (
            {"interval_seconds": 0.009},
            "--interval (MONLAT_INTERVAL): 9ms is too short: a probe would wait behind the one before it; "
            "give 10ms or more",
        ),
        (
            {"interval_seconds": 3601.0},
            "--interval (MONLAT_INTERVAL): 3601s is too long for a useful time series; give 1h or less",
        ),
        (
            {"timeout_seconds": 0.0},
            "--timeout (MONLAT_TIMEOUT): 0ms is too short for any reply; give 1ms or more, for example 1s",
        ),
        (
            {"timeout_seconds": 8.001, "interval_seconds": 2.0},
            "--timeout (MONLAT_TIMEOUT): 8.001s is beyond the end of the histogram; give 8s or less",
        ),
        (
            {"timeout_seconds": 0.151, "interval_seconds": 0.01},
            "--timeout (MONLAT_TIMEOUT): 151ms is longer than 15 intervals of 10ms: an address has no more probes in "
            "flight; give 150ms or less, or a longer --interval",
        ),
        (
            {"node_name": ""},
            "--node-name (MONLAT_NODE_NAME): this node has no name, and its host has none either; "
            "give the name that peers use",
        ),
        (
            {"node_name": "n" * 254},
            f"--node-name (MONLAT_NODE_NAME): '{'n' * 40}' is 254 bytes long, and a label holds 253 at most; "
            "give the name that peers use for this node",
        ),
        (
            {"node_name": "no\nde"},
            "--node-name (MONLAT_NODE_NAME): 'no\\nde' holds U+000A, which does not print; "
            "give the name that peers use for this node",
        ),
        ({"zone": " a"}, "--zone (MONLAT_ZONE): ' a' begins or ends with a space; give a short name or nothing"),
        (
            {"peers_file": None},
            "--peers (MONLAT_PEERS): static discovery needs a peers file; give --peers FILE",
        ),
        (
            {"discovery": DiscoveryKind.KUBERNETES},
            "--peers (MONLAT_PEERS): discovery kubernetes reads no peers file; omit --peers, or use --discovery static",
        ),
        ({"dscp": 64}, "--dscp (MONLAT_DSCP): 64 is out of range; give 0 to 63, for example 46 (EF)"),
        ({"dscp": -1}, "--dscp (MONLAT_DSCP): -1 is out of range; give 0 to 63, for example 46 (EF)"),
        (
            {"source_addresses": (ip_address("10.0.0.1"), ip_address("fd00::1"), ip_address("10.0.0.1"))},
            "--source-address (MONLAT_SOURCE_ADDRESS): 10.0.0.1 and 10.0.0.1 are both ipv4; keep one of each family",
        ),
        ({"max_peers": 0}, "--max-peers (MONLAT_MAX_PEERS): 0 is out of range; give 1 to 100000"),
        ({"max_peers": 100_001}, "--max-peers (MONLAT_MAX_PEERS): 100001 is out of range; give 1 to 100000"),
        (
            {"probe_neighbours": 0},
            "--probe-neighbours (MONLAT_PROBE_NEIGHBOURS): 0 is out of range; give 2 to 128, all or auto",
        ),
        (
            {"probe_neighbours": 130},
            "--probe-neighbours (MONLAT_PROBE_NEIGHBOURS): 130 is out of range; give 2 to 128, all or auto",
        ),
        (
            {"probe_neighbours": 7},
            "--probe-neighbours (MONLAT_PROBE_NEIGHBOURS): 7 is odd, and a node has one on either side; give 6 or 8",
        ),
        (
            {"probe_neighbours": 8, "max_peers": 13},
            "--probe-neighbours (MONLAT_PROBE_NEIGHBOURS): 8 can come to 14 peers of a node, and --max-peers allows "
            "13; give fewer, or raise --max-peers on all nodes",
        ),
        (
            {"listen": (("fd00::2", 80), ("10.0.0.2", 80), ("fd00::2", 80))},
            "--listen (MONLAT_LISTEN): [fd00::2]:80 is given twice; keep one",
        ),
        (
            {"listen": (("127.0.0.1", 80), ("::", 80))},
            "--listen (MONLAT_LISTEN): [::]:80 serves every address of port 80; keep it alone, or give addresses only",
        ),
        ({"listen": ()}, "--listen (MONLAT_LISTEN): no address; give for example [::]:10045"),
        ({"listen": (("::", 65_536),)}, "--listen (MONLAT_LISTEN): port 65536 does not exist; give 0 to 65535"),
    ],
)
def test_error_names_flag_variable_value_and_remedy(changes: dict[str, Any], message: str) -> None:
    """Each setting with a wrong value raises ConfigError."""
    assert refusal(**changes) == message


def test_limits_are_allowed() -> None:
    """The shortest and longest times, the longest names and both ends of the other ranges."""
    config(interval_seconds=0.010, timeout_seconds=0.150)
    config(interval_seconds=3600.0, timeout_seconds=8.0)
    config(timeout_seconds=0.001)
    config(node_name="n" * 253, zone="z" * 253)
    config(node_name="é" * 126)
    config(dscp=63, source_addresses=(ip_address("fd00::1"), ip_address("10.0.0.1")))
    config(max_peers=1, listen=(("::", 0),))
    config(max_peers=14, probe_neighbours=8)
    config(max_peers=2, probe_neighbours=2)
    config(probe_neighbours=128)
    config(max_peers=1, probe_neighbours=PeerChoice.ALL)
    config(max_peers=100_000, listen=(("::", 65_535), ("::1", 0), ("::1", 0)))


def test_fifteen_intervals_of_100_ms_are_1500_ms() -> None:
    """15 * 0.1 is not 1.5 in floating point, so the comparison is in nanoseconds."""
    assert config(interval_seconds=0.1, timeout_seconds=1.5).timeout_seconds == 1.5


def test_kubernetes_discovery_needs_no_peers_file() -> None:
    """Only static discovery needs a peers file."""
    assert config(discovery=DiscoveryKind.KUBERNETES, peers_file=None).peers_file is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"namespace": "Monitoring"},
            "--namespace (MONLAT_NAMESPACE): 'Monitoring' is not a namespace; use lower-case letters, digits and -",
        ),
        (
            {"service": "-agents"},
            "--service (MONLAT_SERVICE): '-agents' is not the name of a Service; use lower-case letters, digits and -",
        ),
        (
            {"service": ""},
            "--service (MONLAT_SERVICE): '' is not the name of a Service; use lower-case letters, digits and -",
        ),
    ],
)
def test_kubernetes_names_are_dns_labels(changes: dict[str, str], message: str) -> None:
    """Namespace and Service are DNS labels; an empty namespace means the agent's own."""
    with pytest.raises(ConfigError) as caught:
        KubernetesConfig(**changes)  # type: ignore[arg-type]  # the names are texts
    assert str(caught.value) == message
