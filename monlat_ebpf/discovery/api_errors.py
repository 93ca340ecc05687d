"""Why a request to the API server failed, grouped by what discovery does about it."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The label `reason` of monlat_discovery_errors_total."""

    CONNECTION = "connection"
    """Refused, reset, unknown host, or a certificate that does not verify."""
    TIMEOUT = "timeout"
    """No data for longer than the request allows."""
    DENIED = "denied"
    """HTTP 401 or 403, or the token file is unreadable."""
    THROTTLED = "throttled"
    """HTTP 429."""
    SERVER = "server"
    """HTTP 5xx, or an error event within a watch."""
    REQUEST = "request"
    """Any other HTTP status that is not a success."""
    GONE = "gone"
    """HTTP 410: the requested version is older than what the server keeps."""
    STREAM = "stream"
    """An answer that ends too early or does not follow the API's documentation."""
    CLOSED = "closed"
    """A watch that the server ended correctly, but right after it began."""
    MALFORMED = "malformed"
    """A part of an EndpointSlice that cannot be read; the rest is used."""
    INTERNAL = "internal"
    """A defect in monlat or in the client library."""


class ApiError(Exception):
    """A request failed. The text is for the log.

    `retry_after` is the server's Retry-After in seconds, 0 without one. `relist` is True if the watch cannot continue
    at its version, so that all slices must be listed again.
    """

    def __init__(self, reason: Reason, text: str, *, retry_after: float = 0.0, relist: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.retry_after = retry_after
        self.relist = relist

    @classmethod
    def of_status(cls, status: int, text: str, retry_after: float = 0.0) -> ApiError:
        """Return the error for an HTTP status, or for the code of a Status object within a watch.

        Every status requires a new list, except those that say nothing about the version: denied and throttled.
        """
        match status:
            case 401 | 403:
                reason = Reason.DENIED
            case 429:
                reason = Reason.THROTTLED
            case 410:
                reason = Reason.GONE
            case _:
                reason = Reason.SERVER if status >= 500 else Reason.REQUEST
        relist = reason not in (Reason.DENIED, Reason.THROTTLED)
        return cls(reason, text, retry_after=retry_after, relist=relist)
