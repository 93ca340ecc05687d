"""Where the API server is and who we are to it. With kubernetes_api the only importer of `kubernetes`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kubernetes.client.configuration import Configuration
from kubernetes.config import ConfigException, list_kube_config_contexts, load_kube_config
from kubernetes.config.incluster_config import SERVICE_HOST_ENV_NAME, InClusterConfigLoader

from monlat_ebpf.config import KubernetesConfig
from monlat_ebpf.errors import ConfigError


def log_in(config: KubernetesConfig, environ: Mapping[str, str] = os.environ) -> tuple[Any, str]:
    """Return the client library's Configuration, and the namespace to look in.

    A kubeconfig that is named wins, by the flag and then by KUBECONFIG; then a pod's service account; then
    ~/.kube/config. Nothing is asked of the API server yet. Raises ConfigError.
    """
    named = config.kubeconfig or environ.get("KUBECONFIG", "")
    home = Path(environ.get("HOME", "/root")) / ".kube/config"
    if named:
        login, namespace = _by_kubeconfig(named)
    elif SERVICE_HOST_ENV_NAME in environ:
        login, namespace = _by_service_account(config.service_account, environ)
    elif home.is_file():
        login, namespace = _by_kubeconfig(str(home))
    else:
        raise ConfigError(
            f"--discovery kubernetes: this is no pod ({SERVICE_HOST_ENV_NAME} is not set), and neither KUBECONFIG nor "
            f"{home} is there; name one with --kubeconfig (MONLAT_KUBECONFIG)"
        )
    return login, config.namespace or namespace


def _by_kubeconfig(paths: str) -> tuple[Any, str]:
    login = Configuration()
    try:
        _, context = list_kube_config_contexts(paths)
        load_kube_config(paths, client_configuration=login, persist_config=False)
        namespace = context["context"].get("namespace") or "default"
    except Exception as error:  # the loader raises whatever a wrong file makes it stumble over
        text = " ".join(str(error).split())
        raise ConfigError(
            f"--kubeconfig (MONLAT_KUBECONFIG, KUBECONFIG): {paths} cannot be used: {text or type(error).__name__}; "
            f"try it with kubectl --kubeconfig"
        ) from error
    return login, str(namespace)


def _by_service_account(mount: Path, environ: Mapping[str, str]) -> tuple[Any, str]:
    login = Configuration()
    token = mount / "token"
    try:
        InClusterConfigLoader(str(token), str(mount / "ca.crt"), environ=environ).load_and_set(login)
        namespace = (mount / "namespace").read_text().strip()
    except (ConfigException, OSError, ValueError) as error:
        raise ConfigError(
            f"--discovery kubernetes: the service account in {mount} cannot be used: {error}; let the pod have one "
            f"(automountServiceAccountToken: true), or name a kubeconfig with --kubeconfig (MONLAT_KUBECONFIG)"
        ) from error
    # The library's own hook believes a token for a minute after the kubelet replaced it.
    login.refresh_api_key_hook = partial(_read_again, token)
    return login, namespace or "default"


def _read_again(token: Path, login: Any) -> None:
    """Take the token as it is now; the library calls this for each request. Raises ConfigException."""
    try:
        text = token.read_text().strip()
    except (OSError, ValueError) as error:
        raise ConfigException(f"{token}: {error}") from error
    for key in login.api_key:
        login.api_key[key] = f"Bearer {text}"
