"""The files of a page, read once. The agent's page and the collector's share some of them.

Their paths contain a hash of their content, so a browser keeps them for ever and never has an old one. The page itself
is asked for anew each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from monlat_ebpf.exposition.messages import Response, Route

SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No script and no style in the page itself, and nothing from another server."""

_HEADERS: Final = {
    "Content-Security-Policy": SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SHARED: Final = Path(__file__).parent / "page"  # importlib.resources would cost the agent 17 ms and its memory
_INDEX: Final = "index.html"
_VERSION: Final = b"{version}"  # in the page, where the hash goes


def page_routes(own: Path) -> Mapping[str, Route]:
    """Return the routes of the page in the directory `own`, and of its files and the shared ones.

    All files are served side by side, so a module imports each other one as `./NAME.js`.
    """
    contents = {
        file.name: file.read_bytes()
        for directory in (_SHARED, own)
        for file in sorted(directory.iterdir())
        if file.is_file()
    }
    version = hashlib.sha256(b"\0".join(contents.values())).hexdigest()[:16]
    index = contents.pop(_INDEX).replace(_VERSION, version.encode())
    routes = {"/": _route(index, "text/html; charset=utf-8", "no-cache")}
    for name, content in contents.items():
        content_type = _TYPES[name[name.rindex(".") :]]
        routes[f"/page/{version}/{name}"] = _route(content, content_type, "public, max-age=31536000, immutable")
    return routes


def _route(content: bytes, content_type: str, cache_control: str) -> Route:
    response = Response(content, content_type, headers={**_HEADERS, "Cache-Control": cache_control})
    return lambda request: response
