"""What the HTTP server asks of its clients, at one moment. Pure.

web_config.py reads it from a file, web_security.py follows the file. Without a file, the server is open.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Security:
    """TLS, certificates, passwords and headers."""

    context: ssl.SSLContext | None = None
    """None: plain HTTP."""
    needs_certificate: bool = False
    """Whether a client must have a certificate that its CA has signed."""
    allowed_names: frozenset[str] = frozenset()
    """The certificate must have one of these names; empty: any name will do."""
    users: Mapping[str, bytes] = field(default_factory=dict)
    """The bcrypt hash of each user's password; empty: no password is asked for."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of every answer."""

    def why_not(self, names: frozenset[str] | None) -> str:
        """Return why a client whose certificate has these names is not served, "" if it is. None: no certificate."""
        if not self.needs_certificate:
            return ""
        if names is None:
            return "a client certificate is needed here"
        if self.allowed_names and not self.allowed_names & names:
            return "this certificate has none of the names that are allowed here"
        return ""


OPEN = Security()
"""Plain HTTP for everyone."""
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Served without certificate and password: the kubelet, which asks for them, cannot have either. They tell little."""
