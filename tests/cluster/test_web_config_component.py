"""The component web-config with an agent as it renders it: the kubelet, Prometheus and `kubectl exec` reach it."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
from contextlib import closing
from pathlib import Path

import pytest

from monlat_ebpf.testbed.namespace import Namespace
from testkit.certificates import make_ca, make_certificate
from testkit.waiting import wait_until
from tests.cluster.rendering import Kustomize
from tests.kernel.agents import PORT, RunningAgent
from tests.manifest_files import agent_of, of_kind, pod_of

WEB_CONFIG = "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n"


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """The directory that the two Secrets of the component make, with the names that docs/web-config.md asks for."""
    made, web = tmp_path / "made", tmp_path / "web"
    made.mkdir()
    web.mkdir()
    ca = make_ca(made)
    certificate = make_certificate(made, ca, "agent", "DNS:monlat-agents,DNS:localhost")
    for file, name in ((ca, "ca.crt"), (certificate, "tls.crt"), (certificate.with_suffix(".key"), "tls.key")):
        file.rename(web / name)
    (web / "web-config.yml").write_text(WEB_CONFIG)
    return web


def test_kubelet_prometheus_and_exec_reach_the_agent(kustomize: Kustomize, web: Path, tmp_path: Path) -> None:
    """Each as the manifest says: the probes' paths and scheme, the PodMonitor's scheme, CA and name, the settings."""
    objects = kustomize.objects(["pod-monitor", "web-config"])
    agent = agent_of(objects)
    (mount,) = (each["mountPath"] for each in agent["volumeMounts"] if each["name"] == "web-config")
    (volume,) = (each for each in pod_of(objects)["volumes"] if each["name"] == "web-config")
    (scraped,) = of_kind(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert {"secret": {"name": scraped["tlsConfig"]["ca"]["secret"]["name"]}} in volume["projected"]["sources"]
    settings = {each["name"]: each["value"].replace(mount, str(web)) for each in agent["env"] if "value" in each}

    with (
        Namespace("agent") as namespace,
        RunningAgent(namespace, tmp_path, source="socket", environment=settings, wait=False),
    ):
        kubelet = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        kubelet.check_hostname, kubelet.verify_mode = False, ssl.CERT_NONE
        wait_until(lambda: ask(namespace, kubelet, "10.0.0.1", "/readyz")[0] == 200)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert agent[probe]["httpGet"]["scheme"] == "HTTPS"
            assert ask(namespace, kubelet, "10.0.0.1", agent[probe]["httpGet"]["path"]) == (200, b"ok\n")

        prometheus = ssl.create_default_context(cafile=web / scraped["tlsConfig"]["ca"]["secret"]["key"])
        prometheus.verify_flags &= ~ssl.VERIFY_X509_STRICT
        status, text = ask(namespace, prometheus, scraped["tlsConfig"]["serverName"], "/metrics")
        assert (status, b"monlat_web_config_up 1.0" in text) == (200, True)

        asking = [f"{name}={settings[name]}" for name in ("MONLAT_URL", "MONLAT_CA")]
        done = namespace.run(["env", *asking, sys.executable, "-m", "monlat_ebpf", "peers", "--json"])
        assert json.loads(done.stdout)["node"] == "node1", done.stderr


def ask(namespace: Namespace, context: ssl.SSLContext, name: str, path: str) -> tuple[int, bytes]:
    """GET over TLS from inside the namespace, with the name that the certificate must have; 0 when nobody listens."""
    with closing(http.client.HTTPSConnection("127.0.0.1", PORT, timeout=20, context=context)) as connection:
        try:
            with namespace.entered():
                plain = socket.create_connection(("127.0.0.1", PORT), 20)
        except ConnectionRefusedError:
            return 0, b""
        connection.sock = context.wrap_socket(plain, server_hostname=name)
        connection.request("GET", path)
        with connection.getresponse() as answer:
            return answer.status, answer.read()
