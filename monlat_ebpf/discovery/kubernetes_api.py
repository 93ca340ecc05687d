"""The two requests to the API server: list and watch EndpointSlices, as raw JSON.

With kubernetes_login the only importer of `kubernetes`, which costs 23 MB: import this module lazily. The library's own
Watch and informer are not used. They retry without back-off, drop a half-received event silently, and build model
objects that need ten times the memory of the JSON.
"""

from __future__ import annotations

import http.client
import json
import random
import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import urllib3
from kubernetes.client.api.discovery_v1_api import DiscoveryV1Api
from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from urllib3.util.ssl_ import create_urllib3_context

import monlat_ebpf
from monlat_ebpf.config import KubernetesConfig, Timing
from monlat_ebpf.discovery.api_errors import ApiError, Reason
from monlat_ebpf.discovery.kubernetes_login import log_in
from monlat_ebpf.discovery.list_body import GZIP, body_of
from monlat_ebpf.discovery.slice_store import version_of
from monlat_ebpf.discovery.sockets import Sockets, pool_classes
from monlat_ebpf.discovery.watch_events import WatchEvent, events_of

LONGEST_RETRY_AFTER: Final = 300
"""Seconds. A longer Retry-After is cut to this, so that a mistake of the server cannot stop discovery for a day."""

_CHUNK: Final = 65536  # the most bytes read at once; less is passed on as it arrives


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. `continuation` is "" on the last page. A watch may begin at `version`."""

    items: list[Any]
    version: str
    continuation: str


class KubernetesApi:
    """The API server, and the one Service whose EndpointSlices are read.

    The constructor sends no request. It raises ConfigError when there are no usable credentials.
    """

    def __init__(self, config: KubernetesConfig, timing: Timing) -> None:
        login, self.namespace = log_in(config)
        login.retries = False  # urllib3 would try four times at once, and sleep as Retry-After says
        login.keep_alive = True  # detects a connection that a firewall dropped silently
        self.host: str = login.host
        self._timing = timing
        self._selector = f"kubernetes.io/service-name={config.service}"
        self._sockets = Sockets()
        client = ApiClient(login)
        client.user_agent = f"monlat-ebpf/{monlat_ebpf.__version__}"
        client.rest_client.pool_manager.pool_classes_by_scheme = pool_classes(self._sockets)
        if self.host.startswith("https:"):  # the system's CAs cost 1 MB
            client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = lenient_tls(login)
        self._client = client
        self._api = DiscoveryV1Api(client)

    def list_page(self, continuation: str = "") -> Page:
        """Return the first page of the list, or the page that `continuation` names. Raises ApiError."""
        more = {"_continue": continuation} if continuation else {}
        headers = {"Accept-Encoding": GZIP}
        response = self._request(self._timing.list_timeout, limit=self._timing.page_size, _headers=headers, **more)
        with _as_api_error(Reason.STREAM), closing(response):
            # not decoded by urllib3, whose decoder accepts a stream that is cut off
            chunks = iter(lambda: response.read(_CHUNK, decode_content=False), b"")
            return _page_of(body_of(chunks, response.headers.get("Content-Encoding", "")))

    def watch(self, version: str, *, opened: Callable[[], None]) -> Generator[WatchEvent]:
        """Yield the events after `version`, until the server ends the watch. Raises ApiError.

        Call `opened()` when the server has accepted the watch.
        """
        response = self._request(
            self._timing.quiet_seconds,
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=version,
            timeout_seconds=max(1, round(self._timing.watch_seconds * random.uniform(1.0, 1.1))),
        )
        with _as_api_error(Reason.STREAM), closing(response):
            opened()
            yield from events_of(iter(lambda: response.read1(_CHUNK), b""))

    def _request(self, longest_silence: float, **query: Any) -> urllib3.HTTPResponse:
        """Return the response, with its body unread. Raises ApiError."""
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
        """End the current request, from any thread. All later requests fail."""
        self._sockets.abort()

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()


def lenient_tls(login: Any) -> ssl.SSLContext:
    """Return a TLS context that accepts every certificate that kubectl accepts. Verification stays on.

    Python 3.13 verifies strictly (RFC 5280) by default. It rejects the CA of many clusters, which has no keyUsage or no
    authority key identifier. Go does not require these.
    """
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if login.verify_ssl else ssl.CERT_NONE)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not (login.ssl_ca_cert or login.ca_cert_data):  # urllib3 adds these to a context of its own only
        context.load_default_certs()
    return context


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of the Retry-After header (RFC 9110, 10.2.3), LONGEST_RETRY_AFTER at most, 0 if invalid."""
    try:
        return min(urllib3.Retry().parse_retry_after(headers.get("Retry-After", "0")), LONGEST_RETRY_AFTER)
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return 0.0


def _page_of(body: bytes) -> Page:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:  # the latter for deep nesting
        raise ApiError(Reason.STREAM, f"the list is not JSON: {error}") from error
    items = answer.get("items", ...) if isinstance(answer, dict) else ...
    if items is None:
        items = []  # how Go writes an empty list
    if not isinstance(items, list):
        raise ApiError(Reason.STREAM, f"the answer is not a list: {body[:80]!r}")
    metadata = answer.get("metadata")
    continuation = metadata.get("continue") if isinstance(metadata, dict) else None
    return Page(items, version_of(metadata), continuation if isinstance(continuation, str) else "")


@contextmanager
def _as_api_error(broken: Reason) -> Iterator[None]:
    """Convert the libraries' exceptions to ApiError. `broken` is the reason for a broken connection."""
    try:
        yield
    except ApiException as error:
        raise _error_of(error) from error
    except ConfigException as error:
        raise ApiError(Reason.DENIED, f"the credentials cannot be read: {error}") from error
    except urllib3.exceptions.NewConnectionError as error:  # a subclass of TimeoutError
        raise ApiError(broken, f"no connection: {error}") from error
    except urllib3.exceptions.TimeoutError as error:
        raise ApiError(Reason.TIMEOUT, f"no answer: {error}") from error
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        raise ApiError(broken, f"the connection broke: {error}") from error


def _error_of(error: ApiException) -> ApiError:
    if not error.status:  # how the library reports TLS errors
        return ApiError(Reason.CONNECTION, f"TLS: {' '.join(str(error.reason).split())}")
    text = f"{error.status} {error.reason}"
    if error.status == 403:
        text += "; a Role must allow list and watch on endpointslices (discovery.k8s.io) here, see manifests/base"
    return ApiError.of_status(error.status, text, retry_after(error.headers or {}))
