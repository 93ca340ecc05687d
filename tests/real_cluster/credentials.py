"""Certificates and tokens: a CA that strict verifiers refuse, and keys that are replaced under running agents."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.real_cluster.agents import Agents, restarts, value, wait
from tests.real_cluster.installing import wait_for_agents
from tests.real_cluster.own_cluster import OwnCluster

pytestmark = [pytest.mark.own_cluster("replaces the cluster's keys"), pytest.mark.timeout(600)]


LAX_CA = """[req]
distinguished_name = name
x509_extensions = ca
[name]
[ca]
basicConstraints = critical,CA:TRUE
"""


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_lax(keys: Path, folder: Path) -> str:
    """Replace the CA's certificate by one of the same key and name without keyUsage, and the server's by one without
    authority key identifier. What the old CA has signed stays valid. Return the new CA's text.
    """
    bare = folder / "bare.cnf"
    bare.write_text(LAX_CA)
    ca, key = keys / "ca.crt", keys / "ca.key"
    subject = openssl("x509", "-in", ca, "-noout", "-subject", "-nameopt", "RFC2253").strip().removeprefix("subject=")
    openssl("req", "-x509", "-config", bare, "-key", key, "-days", "30", "-subj", f"/{subject}", "-out", ca)
    names = openssl("x509", "-in", keys / "api.crt", "-noout", "-ext", "subjectAltName").splitlines()[1].strip()
    extensions = folder / "api.ext"
    names = names.replace("IP Address:", "IP:").replace(", ", ",")
    extensions.write_text(f"subjectAltName={names}\nauthorityKeyIdentifier=none\n")
    openssl(
        *("x509", "-req", "-in", keys / "api.csr", "-CA", ca, "-CAkey", key, "-CAcreateserial", "-days", "30"),
        *("-extfile", extensions, "-out", keys / "api.crt"),
    )
    return ca.read_text().strip()


def test_ca_without_key_usage_and_server_without_authority_key_identifier(
    installed: Agents, own: OwnCluster, nodes: list[str], tmp_path: Path
) -> None:
    """kubectl accepts both, so agents do, too; the strict mode of Python 3.13 refuses them."""

    def published() -> str:
        path = f"/api/v1/namespaces/{installed.namespace}/configmaps/kube-root-ca.crt"
        return str(installed.api.get(path)["data"]["ca.crt"]).strip()

    with own.restored_keys() as keys:
        lax = make_lax(keys, tmp_path)
        for file, extension in (("ca.crt", "Key Usage"), ("api.crt", "Authority Key Identifier")):
            assert extension not in openssl("x509", "-in", keys / file, "-noout", "-text")
        own.restart("apiserver", "kcm")
        wait(lambda: published() == lax, "the new CA is not published", 90)
        installed.api.run("delete", "pods", "--all", "--namespace", installed.namespace)
        wait_for_agents(installed)
        installed.wait_complete(nodes)
        assert mounted(installed, nodes[0], "ca.crt") == lax
        for node in nodes:
            assert value(installed.metrics(node), "monlat_discovery_up") == 1
    own.restart("apiserver", "kcm")
    wait(lambda: published() != lax, "the old CA is not published again", 90)


def test_tokens_signed_with_a_new_key(installed: Agents, own: OwnCluster, nodes: list[str]) -> None:
    """The key of all service accounts is replaced: old tokens are refused until the kubelets have written new ones.

    Agents read them again, follow the list again, and have not been restarted meanwhile.
    """
    before_denied = {each: denied(installed, each) for each in map(installed.api.address_of, nodes)}
    before = {node: (pod["metadata"]["name"], restarts(pod)) for node, pod in installed.by_node().items()}
    old = {node: mounted(installed, node, "token") for node in nodes}
    openssl("genrsa", "-out", own.keys / "sa.key", "2048")
    openssl("rsa", "-in", own.keys / "sa.key", "-pubout", "-out", own.keys / "sa.pub")
    own.restart("apiserver", "kcm")
    addresses = [installed.api.address_of(node) for node in nodes]
    wait(lambda: all(denied(installed, each) > before_denied[each] for each in addresses), "an old token is good", 90)
    for each in range(1, len(nodes) + 1):
        own.restart_kubelet(each)
    wait(
        lambda: all(value(installed.direct_metrics(each), "monlat_discovery_up") == 1 for each in addresses),
        "an agent does not follow the list with its new token",
        150,
    )
    wait(lambda: set(installed.by_node()) == set(nodes), "not every agent is ready")
    assert [node for node in nodes if mounted(installed, node, "token") == old[node]] == []
    assert {node: (pod["metadata"]["name"], restarts(pod)) for node, pod in installed.by_node().items()} == before


def denied(agents: Agents, address: str) -> float:
    return value(agents.direct_metrics(address), "monlat_discovery_errors_total", reason="denied")


def mounted(agents: Agents, node: str, name: str) -> str:
    """What the kubelet has written for the agent: the account's token, or the CA of the API server."""
    path = f"/var/run/secrets/kubernetes.io/serviceaccount/{name}"
    done = agents.execute(node, "python3", "-c", f"print(open({path!r}).read())")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
