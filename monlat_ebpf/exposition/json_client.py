"""One HTTP request for JSON, to an agent or a collector: what every command of the command line asks with."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from monlat_ebpf.errors import ConfigError
from monlat_ebpf.exposition.client_access import ClientAccess

LARGEST_ANSWER: Final = 64 * 1024 * 1024
"""Bytes: 5,000 peers of two addresses need 8 MB, the matrix of 1,000 nodes 8 MB."""


class NoAnswer(Exception):
    """There is no usable answer; the text says why, as the end of a sentence."""


class Reply(NamedTuple):
    """A JSON value, and when it was sent: by the server's clock if it says so, which it does to a second."""

    document: Any
    unix_seconds: float


def checked_url(url: str, whose: str, example: str) -> str:
    """Return `url` without a slash at its end. Raises ConfigError if it is not a URL; `whose`: "an agent"."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"--url (MONLAT_URL): {url!r} is not the URL of {whose}; write for example {example}")
    return url.rstrip("/")


def get_json(base: str, target: str, timeout_seconds: float, access: ClientAccess) -> Reply:
    """Return the answer of the server at `base` to GET `target` (path and query).

    Wait at most `timeout_seconds` for each part of it. Use no proxy, whatever the environment says: a proxy runs on
    another node. Raises NoAnswer, and ConfigError if a file of `access` is not usable.
    """
    path = target.partition("?")[0]
    opener, request = access.opener(base), access.request(base + target)
    try:
        with opener.open(request, timeout=timeout_seconds) as response:
            body, date = response.read(LARGEST_ANSWER + 1), response.headers["Date"]
    except urllib.error.HTTPError as error:
        with error:
            raise NoAnswer(f"it answers {error.code} {error.reason} to {path}{_remedy(error)}") from error
    except urllib.error.URLError as error:
        raise NoAnswer(_reason(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(_reason(error)) from error
    if len(body) > LARGEST_ANSWER:
        raise NoAnswer(f"its answer to {path} is longer than {LARGEST_ANSWER >> 20} MiB")
    try:
        return Reply(json.loads(body), _unix_seconds(date))
    except (ValueError, RecursionError) as error:
        raise NoAnswer(f"its answer to {path} is not JSON") from error


def _unix_seconds(date: str | None) -> float:
    try:
        return time.time() if date is None else parsedate_to_datetime(date).timestamp()
    except ValueError:
        return time.time()


def _remedy(error: urllib.error.HTTPError) -> str:
    match error.code:
        case 400 if b"TLS" in error.read(1024):
            return "; it speaks TLS: ask it with --url https://…"
        case 401:
            return "; give a user and a password with --user-file FILE (MONLAT_USER_FILE)"
        case 403:
            return "; give a client certificate with --cert FILE (MONLAT_CERT)"
    return ""


def _reason(error: object) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"{getattr(error, 'verify_message', 'certificate not verified')}; give its CA with --ca FILE (MONLAT_CA)"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
