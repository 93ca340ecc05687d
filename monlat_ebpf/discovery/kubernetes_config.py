"""What Kubernetes discovery is told: where the API is, which Service it follows, how patient it is. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monlat_ebpf.config_text import refuse

_DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long discovery waits for what, in seconds unless said.

    The defaults are for a cluster of thousands of nodes whose agents all ask the same API server. Tests take
    shorter ones.
    """

    backoff_base: float = 1.0
    """Longest wait after the first failure; it doubles with each further one. 1 s, as Kubernetes' own clients take."""

    backoff_cap: float = 60.0
    """Longest wait of all. A minute: peers known so far are probed all the while."""

    requests_per_second: float = 1.0
    """Requests on average, whatever the API server does."""

    burst: int = 3
    """Requests at once before that average binds: a list of two pages and a watch."""

    page_size: int = 50
    """EndpointSlices in one answer. 50 of 100 endpoints each are some 2 MB of JSON, and that much is held at once."""

    connect_timeout: float = 5.0
    """For the TCP connection and the TLS handshake."""

    list_timeout: float = 30.0
    """For silence while a list is awaited or read."""

    watch_seconds: float = 290.0
    """After this, and up to a tenth more, the API server ends a watch in good order, and the agents spread anew over
    its replicas."""

    quiet_seconds: float = 100.0
    """For silence within a watch, after which the connection counts as dead. Bookmarks come once a minute."""

    healthy_seconds: float = 10.0
    """A watch that ends earlier counts as a failure: one that is closed at once is not opened at once again."""

    settle_seconds: float = 0.2
    """Changes within this time are published as one: a node that moves from one slice to another never seems gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesConfig:
    """Settings of Kubernetes discovery. Raises ConfigError, naming flag and variable, when a value cannot be."""

    namespace: str = ""
    """Namespace of the Service (`--namespace`). Empty: the service account's, or the kubeconfig's context's."""

    service: str = "monlat-agents"
    """The headless Service whose endpoints are the agents (`--service`); the name that the manifests give it."""

    kubeconfig: str = ""
    """Path of a kubeconfig (`--kubeconfig`), or several, joined as in KUBECONFIG. Empty: KUBECONFIG if it is set, else
    the pod's service account, else ~/.kube/config."""

    service_account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    """Where the kubelet mounts token, CA and namespace. The token is read again as it is rotated."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.namespace and not _DNS_LABEL.fullmatch(self.namespace):
            refuse("namespace", f"{self.namespace[:70]!r} cannot be a namespace; give small letters, digits and -")
        if not _DNS_LABEL.fullmatch(self.service):
            refuse("service", f"{self.service[:70]!r} cannot be a Service's name; give small letters, digits and -")
