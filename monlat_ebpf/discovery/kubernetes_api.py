"""The two requests that discovery makes of an API server: list and watch EndpointSlices, as raw JSON.

With kubernetes_login the only importer of `kubernetes`, which costs 23 MB: import it only where it is used. The
library's own Watch and informer are left aside: they retry at full speed, and make models that cost ten times the JSON.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import urllib3
from kubernetes.client.api.discovery_v1_api import DiscoveryV1Api
from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from urllib3.connection import HTTPConnection

import monlat_ebpf
from monlat_ebpf.config import KubernetesConfig, Timing
from monlat_ebpf.discovery.api_errors import ApiError, Reason, api_error_of_status
from monlat_ebpf.discovery.backoff import parse_retry_after
from monlat_ebpf.discovery.kubernetes_login import log_in
from monlat_ebpf.discovery.slice_store import version_of
from monlat_ebpf.discovery.sockets import Sockets, pool_classes
from monlat_ebpf.discovery.watch_events import WatchEvent, events_of

_CHUNK: Final = 65536  # bytes read at once at most; less is handed on as it comes

_KEEPALIVE: Final = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
"""A firewall that forgot the connection says nothing: the kernel finds out after 75 s."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. `continuation` is "" on the last page, `version` is where a watch may begin."""

    items: list[Any]
    version: str
    continuation: str


class KubernetesApi:
    """An API server, and the one Service in it whose EndpointSlices are read.

    Making one asks nothing of the server. Raises ConfigError when there is no way to one.
    """

    def __init__(self, config: KubernetesConfig, timing: Timing) -> None:
        login, self.namespace = log_in(config)
        login.retries = False  # urllib3 would ask four times at once, and sleep through Retry-After
        login.socket_options = _KEEPALIVE
        self.host: str = login.host
        self._timing = timing
        self._selector = f"kubernetes.io/service-name={config.service}"
        self._sockets = Sockets()
        client = ApiClient(login)
        client.user_agent = f"monlat-ebpf/{monlat_ebpf.__version__}"
        client.rest_client.pool_manager.pool_classes_by_scheme = pool_classes(self._sockets)
        self._client = client
        self._api = DiscoveryV1Api(client)

    def list_page(self, continuation: str = "") -> Page:
        """Return the first page of the list, or the one after `continuation`'s. Raises ApiError."""
        more = {"_continue": continuation} if continuation else {}
        response = self._ask(self._timing.list_timeout, limit=self._timing.page_size, **more)
        with _as_api_error(Reason.STREAM), closing(response):
            return _page_of(response.read())

    def watch(self, version: str, *, opened: Callable[[], None]) -> Generator[WatchEvent]:
        """Yield the events after `version`, until the server ends the watch. Raises ApiError.

        Calls `opened()` when the server has agreed to it.
        """
        response = self._ask(
            self._timing.quiet_seconds,
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=version,
            timeout_seconds=max(1, round(self._timing.watch_seconds * random.uniform(1.0, 1.1))),
        )
        with _as_api_error(Reason.STREAM), closing(response):
            opened()
            yield from events_of(iter(lambda: response.read1(_CHUNK), b""))

    def _ask(self, longest_silence: float, **query: Any) -> urllib3.HTTPResponse:
        """Return the response, its body still to be read. Raises ApiError."""
        with _as_api_error(Reason.CONNECTION):
            response: urllib3.HTTPResponse = self._api.list_namespaced_endpoint_slice(
                self.namespace,
                label_selector=self._selector,
                _preload_content=False,
                _request_timeout=(self._timing.connect_timeout, longest_silence),
                **query,
            )
        return response

    def abort(self) -> None:
        """End, from any thread, what waits for the server; all requests from now on fail."""
        self._sockets.abort()

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()


def _page_of(body: bytes) -> Page:
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise ApiError(Reason.STREAM, f"the list is not JSON: {error}") from error
    items = answer.get("items") if isinstance(answer, dict) else None
    if items is None and isinstance(answer, dict) and "items" in answer:
        items = []  # how Go writes an empty list
    if not isinstance(items, list):
        raise ApiError(Reason.STREAM, f"the answer is no list: {body[:80]!r}")
    metadata = answer.get("metadata")
    continuation = metadata.get("continue") if isinstance(metadata, dict) else None
    return Page(items, version_of(metadata), continuation if isinstance(continuation, str) else "")


@contextmanager
def _as_api_error(broken: Reason) -> Iterator[None]:
    """Raise what the libraries raise as ApiError; `broken` is the reason when a connection fails."""
    try:
        yield
    except ApiException as error:
        raise _trouble_of(error) from error
    except ConfigException as error:
        raise ApiError(Reason.DENIED, f"the credentials cannot be read again: {error}") from error
    except urllib3.exceptions.NewConnectionError as error:  # to urllib3 a kind of time-out
        raise ApiError(broken, f"no connection: {error}") from error
    except urllib3.exceptions.TimeoutError as error:
        raise ApiError(Reason.TIMEOUT, f"silence: {error}") from error
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        raise ApiError(broken, f"the connection broke: {error}") from error


def _trouble_of(error: ApiException) -> ApiError:
    if not error.status:  # the library's way to tell of TLS
        return ApiError(Reason.CONNECTION, f"TLS: {' '.join(str(error.reason).split())}")
    text = f"{error.status} {error.reason}"
    if error.status == 403:
        text += "; a Role must allow list and watch on endpointslices (discovery.k8s.io) here, as manifests/base has it"
    after = parse_retry_after((error.headers or {}).get("Retry-After"), datetime.now(UTC))
    return api_error_of_status(error.status, text, after)
