"""Where the API server is, and with which credentials. With kubernetes_api the only importer of `kubernetes`."""

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
    """Return the client library's Configuration and the namespace to use. Send no request. Raises ConfigError.

    Use the first of: the kubeconfig of the flag, the kubeconfig of KUBECONFIG, the pod's service account,
    ~/.kube/config.
    """
    named = config.kubeconfig or environ.get("KUBECONFIG", "")
    home = Path(environ.get("HOME", "/root")) / ".kube/config"
    if named:
        login, namespace = _from_kubeconfig(named)
    elif SERVICE_HOST_ENV_NAME in environ:
        login, namespace = _from_service_account(config.service_account, environ)
    elif home.is_file():
        login, namespace = _from_kubeconfig(str(home))
    else:
        raise ConfigError(
            f"--discovery kubernetes: this is not a pod ({SERVICE_HOST_ENV_NAME} is not set), KUBECONFIG is not set, "
            f"and {home} does not exist; name a kubeconfig with --kubeconfig (MONLAT_KUBECONFIG)"
        )
    return login, config.namespace or namespace


def _from_kubeconfig(paths: str) -> tuple[Any, str]:
    login = Configuration()
    try:
        _, context = list_kube_config_contexts(paths)
        load_kube_config(paths, client_configuration=login, persist_config=False)
        namespace = context["context"].get("namespace") or "default"
    except Exception as error:  # the loader raises whatever exception a wrong file leads to
        text = " ".join(str(error).split())
        raise ConfigError(
            f"--kubeconfig (MONLAT_KUBECONFIG, KUBECONFIG): {paths} cannot be used: {text or type(error).__name__}; "
            f"try it with kubectl --kubeconfig"
        ) from error
    return login, str(namespace)


def _from_service_account(mount: Path, environ: Mapping[str, str]) -> tuple[Any, str]:
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
    # The library's own hook uses a replaced token for up to a minute, and sends a trailing line break with it.
    login.refresh_api_key_hook = partial(_read_token, token)
    return login, namespace or "default"


def _read_token(token: Path, login: Any) -> None:
    """Read the current token. The library calls this before each request. Raises ConfigException."""
    try:
        text = token.read_text().strip()
    except (OSError, ValueError) as error:
        raise ConfigException(f"{token}: {error}") from error
    for key in login.api_key:
        login.api_key[key] = f"Bearer {text}"
