"""The target of an HTTP request, in the forms of RFC 9112, section 3.2. Pure."""

from __future__ import annotations

import re
from typing import Final

_ABSOLUTE: Final = re.compile(r"https?://(?P<host>[^/?#]+)(?P<path>/[^?]*)?(\?(?P<query>.*))?", re.IGNORECASE)


def path_and_query(target: str) -> tuple[str, str] | None:
    """Return path and query of a target in origin-form or absolute-form; None for any other.

    The query is "" without one. An absolute target without a host is none (RFC 9110, section 4.2.1).
    """
    if target.startswith("/"):
        path, _, query = target.partition("?")
        return path, query
    absolute = _ABSOLUTE.fullmatch(target)
    return (absolute["path"] or "/", absolute["query"] or "") if absolute else None
