"""What can go wrong with an API server, told apart by what to do about it."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why discovery failed for the moment, spelt as the label `reason` of monlat_discovery_errors_total spells it."""

    CONNECTION = "connection"
    """Refused, reset, no such host, a certificate that does not fit."""
    TIMEOUT = "timeout"
    """Silence for longer than the request allows."""
    DENIED = "denied"
    """401 or 403."""
    THROTTLED = "throttled"
    """429."""
    SERVER = "server"
    """5xx, or an error told within a watch."""
    REQUEST = "request"
    """Any other status that is no success."""
    GONE = "gone"
    """410: what was asked for is older than what the server remembers."""
    STREAM = "stream"
    """An answer that breaks off, or is not what the API's documentation says."""
    CLOSED = "closed"
    """A watch that the server ended in good order, but much too early."""
    MALFORMED = "malformed"
    """A part of an EndpointSlice that cannot be read; the rest of it counts."""
    TOO_MANY = "too_many"
    """More nodes than `--max-peers`: the list is refused whole."""
    INTERNAL = "internal"
    """An error of our own or of the client library."""


class ApiError(Exception):
    """A request came to nothing; the text says what happened, for the log.

    `retry_after` is in seconds, 0 when the server did not say. `relist` tells that a watch may not be
    resumed where it was.
    """

    def __init__(self, reason: Reason, text: str, *, retry_after: float = 0.0, relist: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.retry_after = retry_after
        self.relist = relist


def api_error_of_status(status: int, text: str, retry_after: float = 0.0) -> ApiError:
    """Return what an HTTP status, or the code of a Status object within a watch, means for discovery.

    Only being refused or throttled says nothing against the version that was asked for.
    """
    relist = True
    if status in (401, 403):
        reason, relist = Reason.DENIED, False
    elif status == 429:
        reason, relist = Reason.THROTTLED, False
    elif status == 410:
        reason = Reason.GONE
    elif status >= 500:
        reason = Reason.SERVER
    else:
        reason = Reason.REQUEST
    return ApiError(reason, text, retry_after=retry_after, relist=relist)
