"""Finding the API server: a pod's service account over TLS, a kubeconfig, and what is said when there is neither."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from monlat_ebpf.config import KubernetesConfig
from monlat_ebpf.errors import ConfigError
from testkit.api_faults import hang
from testkit.fake_apiserver import FakeApiServer, endpoint, endpoint_slice
from tests.cluster.following import QUICK, Following
from tests.unit.waiting import wait_until


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a pod finds its service account, with a fresh CA; HOME is empty, KUBECONFIG unset."""
    mount = tmp_path / "serviceaccount"
    mount.mkdir()
    (mount / "namespace").write_text("monlat")
    (mount / "token").write_text("first")
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=fake"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(tmp_path / "key"), "-out", str(mount / "ca.crt")]
    subprocess.run([*make.split(), *files], check=True, capture_output=True)
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


def test_a_pod_logs_in_with_its_service_account(pod: Path, server: FakeApiServer) -> None:
    """Over TLS, in the namespace of the service account, followed and stopped in mid-watch like any other."""
    with in_pod(pod) as following:
        following.wait_for({"n2": "10.0.0.2"})
        server.wait_for_watches(1)
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        assert following.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"}) < 2
        assert following.stop() < 1
    assert following.errors() == {}


def test_stop_ends_a_request_over_tls_that_is_not_answered(pod: Path, server: FakeApiServer) -> None:
    """The reader of an encrypted connection wakes as well."""
    server.answer = hang
    with in_pod(pod) as following:
        server.wait_for_requests(1)
        assert following.stop() < 1


def test_a_rotated_token_is_used_at_once(pod: Path, server: FakeApiServer) -> None:
    """The server refuses the old token; the new one, with a line's end behind it, is read for the next request."""
    with in_pod(pod) as following:
        following.wait_for({"n2": "10.0.0.2"})
        server.bearer = "second"
        server.down()
        server.up()
        wait_until(lambda: following.errors().get("denied", 0) >= 2)
        (pod / "token").write_text("second\n")
        server.put(endpoint_slice("two", endpoint("n3", "10.0.0.3")))
        following.wait_for({"n2": "10.0.0.2", "n3": "10.0.0.3"})


def test_a_token_that_vanished_is_counted_and_missed(pod: Path, server: FakeApiServer) -> None:
    """The kubelet swaps the folder; between two tokens there may be none."""
    with in_pod(pod) as following:
        following.wait_for({"n2": "10.0.0.2"})
        (pod / "token").unlink()
        server.down()
        server.up()
        wait_until(lambda: following.errors().get("denied", 0) >= 2)
        (pod / "token").write_text("first")
        server.wait_for_watches(1)
    assert following.peers == {"n2": "10.0.0.2"}


def test_a_server_with_another_certificate_is_not_believed(
    pod: Path, server: FakeApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    """TLS that does not verify is a failed connection, and the log says so."""
    other = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other"]
    files = ["-keyout", str(pod.parent / "other"), "-out", str(pod / "ca.crt")]
    subprocess.run([*other, *files], check=True, capture_output=True)
    with in_pod(pod) as following:
        wait_until(lambda: following.errors().get("connection", 0) >= 2)
    assert following.lists == []
    assert "certificate" in caplog.text.lower()
    assert server.requests() == []


def test_kubeconfig_wins_over_the_service_account(pod: Path, server: FakeApiServer, tmp_path: Path) -> None:
    """Who names one means it."""
    with FakeApiServer(namespace="elsewhere", bearer="secret") as other:
        other.put(endpoint_slice("one", endpoint("n7", "10.0.0.7")))
        with Following(other.kubeconfig(tmp_path / "kubeconfig"), QUICK) as following:
            following.wait_for({"n7": "10.0.0.7"})
    assert server.requests() == []


def test_the_variable_kubeconfig_names_one_as_well(pod: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for kubectl; --namespace wins over the context's."""
    with FakeApiServer(namespace="elsewhere") as other:
        other.put(endpoint_slice("one", endpoint("n7", "10.0.0.7")))
        other.namespace = "ignored"
        monkeypatch.setenv("KUBECONFIG", str(other.kubeconfig(tmp_path / "kubeconfig")))
        with Following("", QUICK, config=KubernetesConfig(namespace="elsewhere")) as following:
            following.wait_for({"n7": "10.0.0.7"})


def test_home_is_looked_into_last(pod: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of a cluster, ~/.kube/config serves."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (tmp_path / ".kube").mkdir()
    with FakeApiServer() as other:
        other.put(endpoint_slice("one", endpoint("n7", "10.0.0.7")))
        other.kubeconfig(tmp_path / ".kube" / "config")
        with Following("", QUICK, config=KubernetesConfig()) as following:
            following.wait_for({"n7": "10.0.0.7"})


def test_no_pod_and_no_kubeconfig_is_an_error(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names both ways to fix it."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    text = error_of(KubernetesConfig())
    assert "KUBERNETES_SERVICE_HOST is not set" in text
    assert "--kubeconfig (MONLAT_KUBECONFIG)" in text


def test_a_pod_without_a_service_account_is_an_error(pod: Path, server: FakeApiServer) -> None:
    """It says what the pod lacks."""
    (pod / "token").unlink()
    assert "automountServiceAccountToken: true" in error_of(KubernetesConfig(service_account=pod))


@pytest.mark.parametrize("text", [None, "", "{", "[]", "7", "clusters: []", "current-context: x\ncontexts: []"])
def test_a_kubeconfig_of_no_use_is_an_error(pod: Path, tmp_path: Path, text: str | None) -> None:
    """Whatever is wrong with it, the file is named."""
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    assert f"{file} cannot be used" in error_of(KubernetesConfig(kubeconfig=str(file)))


@pytest.mark.parametrize("name", ["Monlat", "a_b", "-a", "a" * 64, "a/b"])
def test_names_that_kubernetes_does_not_allow_are_refused(name: str) -> None:
    """They would end up in a URL or a selector."""
    with pytest.raises(ConfigError, match=r"--namespace \(MONLAT_NAMESPACE\)"):
        KubernetesConfig(namespace=name)
    with pytest.raises(ConfigError, match=r"--service \(MONLAT_SERVICE\)"):
        KubernetesConfig(service=name)
