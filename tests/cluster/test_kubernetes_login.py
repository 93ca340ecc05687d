"""Finding the API server: a pod's service account with TLS, a kubeconfig, and the errors without either."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client.configuration import Configuration

from monlat_ebpf.config import KubernetesConfig
from monlat_ebpf.discovery.kubernetes_api import lenient_tls
from monlat_ebpf.errors import ConfigError
from testkit.api_faults import hang
from testkit.fake_apiserver import FakeApiServer, endpoint, endpoint_slice
from testkit.waiting import wait_until
from tests.cluster.following import QUICK, Following

# No keyUsage and no authority key identifier, which openssl's own configuration would add.
BARE_EXTENSIONS = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
[server]
subjectAltName = IP:127.0.0.1
"""


def make_certificate(certificate: Path, key: Path, *options: str) -> None:
    """Make a key and a certificate with openssl, self-signed unless the options name a CA."""
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj"
    command = [*make.split(), f"/CN={key.name}", *options, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service account's folder, with a new CA, as the kubelet mounts it. HOME is empty, KUBECONFIG is not set."""
    mount = tmp_path / "serviceaccount"
    mount.mkdir()
    (mount / "namespace").write_text("monlat")
    (mount / "token").write_text("first")
    make_certificate(mount / "ca.crt", tmp_path / "key", "-addext", "subjectAltName=IP:127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return mount


@pytest.fixture
def server(pod: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApiServer]:
    with FakeApiServer(bearer="first", tls=(pod / "ca.crt", pod.parent / "key")) as running:
        running.put(endpoint_slice("one", endpoint("n2", "10.0.0.2")))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", running.host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(running.port))
        yield running


def in_pod(pod: Path) -> Following:
    return Following("", QUICK, config=KubernetesConfig(service_account=pod))


def error_of(config: KubernetesConfig) -> str:
    with pytest.raises(ConfigError) as caught, Following("", config=config):
        pass
    assert caught.value.exit_status == 2
    return str(caught.value)


def test_pod_uses_its_service_account(pod: Path, server: FakeApiServer) -> None:
    """Over TLS, in the namespace of the service account; changes are followed, and stop() ends the watch."""
    with in_pod(pod) as following:
        following.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        following.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})
        following.stop()
    assert following.errors() == {}


def test_stop_ends_an_unanswered_request_over_tls(pod: Path, server: FakeApiServer) -> None:
    """A read on an encrypted connection ends too."""
    server.answer = hang
    with in_pod(pod) as following:
        server.wait_for_requests(1)
        following.stop()


def test_rotated_token_is_used_by_the_next_request(pod: Path, server: FakeApiServer) -> None:
    """The server refuses the old token. The new one is read for the next request, without its trailing line break."""
    with in_pod(pod) as following:
        following.wait_for({"n2": "10.0.0.2"})
        server.bearer = "second"
        server.down()
        server.up()
        wait_until(lambda: following.errors().get("denied", 0) >= 2)
        (pod / "token").write_text("second\n")
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        following.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})


def test_missing_token_is_counted_and_discovery_recovers(pod: Path, server: FakeApiServer) -> None:
    """The kubelet replaces the folder, and for a moment there may be no token."""
    with in_pod(pod) as following:
        following.wait_for({"n2": "10.0.0.2"})
        (pod / "token").unlink()
        server.down()
        server.up()
        wait_until(lambda: following.errors().get("denied", 0) >= 2)
        (pod / "token").write_text("first")
        server.wait_for_watches(1)
    assert following.peers == {"n2": "10.0.0.2"}


def test_server_with_an_unknown_certificate_is_rejected(
    pod: Path, server: FakeApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It counts as a failed connection, and the log says why."""
    make_certificate(pod / "ca.crt", pod.parent / "other")
    with in_pod(pod) as following:
        wait_until(lambda: following.errors().get("connection", 0) >= 2)
    assert following.lists == []
    assert "certificate" in caplog.text.lower()
    assert server.requests() == []


def test_ca_that_only_strict_verification_rejects_is_accepted(
    pod: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CA without keyUsage and authority key identifier, as kubectl accepts it; Python 3.13 is strict by default."""
    (tmp_path / "config").write_text(BARE_EXTENSIONS)
    config, authority = ["-config", str(tmp_path / "config"), "-extensions"], tmp_path / "authority"
    make_certificate(pod / "ca.crt", authority, *config, "ca")
    signed = ["-CA", str(pod / "ca.crt"), "-CAkey", str(authority)]
    make_certificate(tmp_path / "server.crt", tmp_path / "server", *config, "server", *signed)
    with FakeApiServer(bearer="first", tls=(tmp_path / "server.crt", tmp_path / "server")) as running:
        strict = ssl.create_default_context(cafile=str(pod / "ca.crt"))
        strict.verify_flags |= ssl.VERIFY_X509_STRICT
        with (
            socket.create_connection((running.host, running.port)) as connection,
            pytest.raises(ssl.SSLCertVerificationError, match="key usage"),
        ):
            strict.wrap_socket(connection, server_hostname=running.host)
        running.put(endpoint_slice("one", endpoint("n2", "10.0.0.2")))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", running.host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(running.port))
        with in_pod(pod) as following:
            following.wait_for({"n2": "10.0.0.2"})
    assert following.errors() == {}


@pytest.mark.parametrize("verify_ssl", [True, False])
def test_tls_is_never_strict_and_verifies_by_default(verify_ssl: bool) -> None:
    """Whatever Python's defaults are; without a CA of its own, a kubeconfig trusts the system's."""
    login = Configuration()
    login.verify_ssl = verify_ssl
    context = lenient_tls(login)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode == (ssl.CERT_REQUIRED if verify_ssl else ssl.CERT_NONE)
    assert context.check_hostname is verify_ssl


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_kubeconfig_may_turn_verification_off(server: FakeApiServer, tmp_path: Path) -> None:
    """insecure-skip-tls-verify: the server's certificate is unknown, and is not verified."""
    file = server.kubeconfig(tmp_path / "kubeconfig")
    config = json.loads(file.read_text())
    config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    file.write_text(json.dumps(config))
    with Following(file, QUICK) as following:
        following.wait_for({"n2": "10.0.0.2"})


def test_named_kubeconfig_is_preferred_to_the_service_account(pod: Path, server: FakeApiServer, tmp_path: Path) -> None:
    """No request goes to the pod's own API server."""
    with FakeApiServer(namespace="elsewhere", bearer="secret") as other:
        other.put(endpoint_slice("one", endpoint("n7", "10.0.0.7")))
        with Following(other.kubeconfig(tmp_path / "kubeconfig"), QUICK) as following:
            following.wait_for({"n7": "10.0.0.7"})
    assert server.requests() == []


def test_variable_kubeconfig_is_used(pod: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As kubectl does. --namespace overrides the context's namespace."""
    with FakeApiServer(namespace="elsewhere") as other:
        other.put(endpoint_slice("one", endpoint("n7", "10.0.0.7")))
        other.namespace = "ignored"
        monkeypatch.setenv("KUBECONFIG", str(other.kubeconfig(tmp_path / "kubeconfig")))
        with Following("", QUICK, config=KubernetesConfig(namespace="elsewhere")) as following:
            following.wait_for({"n7": "10.0.0.7"})


def test_kubeconfig_in_home_is_used_outside_a_cluster(
    pod: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """~/.kube/config, if nothing else is there."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (tmp_path / ".kube").mkdir()
    with FakeApiServer() as other:
        other.put(endpoint_slice("one", endpoint("n7", "10.0.0.7")))
        other.kubeconfig(tmp_path / ".kube" / "config")
        with Following("", QUICK, config=KubernetesConfig()) as following:
            following.wait_for({"n7": "10.0.0.7"})


def test_no_pod_and_no_kubeconfig_is_an_error(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names both remedies."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    text = error_of(KubernetesConfig())
    assert "KUBERNETES_SERVICE_HOST is not set" in text
    assert "--kubeconfig (MONLAT_KUBECONFIG)" in text


def test_pod_without_a_service_account_is_an_error(pod: Path, server: FakeApiServer) -> None:
    """The message names the missing setting."""
    (pod / "token").unlink()
    assert "automountServiceAccountToken: true" in error_of(KubernetesConfig(service_account=pod))


@pytest.mark.parametrize("text", [None, "", "{", "[]", "7", "clusters: []", "current-context: x\ncontexts: []"])
def test_unusable_kubeconfig_is_an_error(pod: Path, tmp_path: Path, text: str | None) -> None:
    """Whatever is wrong with the file, the message names it."""
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    assert f"{file} cannot be used" in error_of(KubernetesConfig(kubeconfig=str(file)))


@pytest.mark.parametrize("name", ["Monlat", "a_b", "-a", "a" * 64, "a/b"])
def test_invalid_kubernetes_names_are_errors(name: str) -> None:
    """They would become part of a URL or a selector."""
    with pytest.raises(ConfigError, match=r"--namespace \(MONLAT_NAMESPACE\)"):
        KubernetesConfig(namespace=name)
    with pytest.raises(ConfigError, match=r"--service \(MONLAT_SERVICE\)"):
        KubernetesConfig(service=name)
