"""Agents that are protected by --web-config, as the collector asks them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from testkit.certificates import make_ca, make_certificate
from testkit.fake_agents import FakeAgents
from testkit.running_collector import running_collector
from testkit.waiting import wait_until
from tests.unit.collector_agents import NODES, collecting, of_node


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    ca = make_ca(directory)
    make_certificate(directory, ca, "server", "DNS:monlat-agents")
    client = make_certificate(directory, ca, "client", "DNS:monlat")
    client.write_bytes(client.read_bytes() + client.with_suffix(".key").read_bytes())
    make_ca(directory, "other")
    return directory


def tls(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_agents_with_tls_client_certificates_and_passwords_are_asked(certificates: Path, tmp_path: Path) -> None:
    """Their certificate has the name monlat-agents, whatever their address. The password is sent."""
    (tmp_path / "user").write_text("alice:secret\n")
    access = ("--ca", str(certificates / "ca.pem"), "--cert", str(certificates / "client.pem"))
    with FakeAgents(NODES, tls(certificates)) as agents:
        agents.behaviours.update({name: of_node(name) for name in NODES})
        arguments = collecting(agents, tmp_path, "--agent-scheme", "https", "--user-file", str(tmp_path / "user"))
        with running_collector(tmp_path, *arguments, *access) as collector:
            wait_until(lambda: collector.matrix()["states"] == ["-mmm", "m-mm", "mm-m", "mmm-"], collector.log)
        assert b"Authorization: Basic YWxpY2U6c2VjcmV0" in agents.heads["node1"]  # base64 of alice:secret


@pytest.mark.parametrize(
    ("ca", "name", "scheme", "failures"),
    [
        ("other.pem", "monlat-agents", "https", {"tls"}),
        ("ca.pem", "another-name", "https", {"tls"}),
        ("ca.pem", "monlat-agents", "http", {"http", "unreachable"}),  # with or without a last message of TLS
    ],
)
def test_agent_whose_certificate_does_not_fit_is_not_believed(
    certificates: Path, tmp_path: Path, ca: str, name: str, scheme: str, failures: set[str]
) -> None:
    """Another CA, another name, or plain HTTP asked of TLS."""
    access = ("--ca", str(certificates / ca), "--cert", str(certificates / "client.pem"), "--agent-server-name", name)
    with FakeAgents(NODES, tls(certificates)) as agents:
        agents.behaviours.update({each: of_node(each) for each in NODES})
        with running_collector(tmp_path, *collecting(agents, tmp_path, "--agent-scheme", scheme), *access) as collector:
            wait_until(lambda: {node["failure"] for node in collector.matrix()["nodes"]} <= failures, collector.log)
            assert not agents.requests
