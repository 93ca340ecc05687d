"""Go's names of TLS parameters, and the SSLContext that the settings ask for."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

CURVES: Final = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}

CIPHER_SUITES: Final = {
    f"TLS_ECDHE_{kind}_WITH_{go}": f"ECDHE-{kind}-{openssl}"
    for kind in ("ECDSA", "RSA")
    for go, openssl in {
        "AES_128_CBC_SHA": "AES128-SHA",
        "AES_256_CBC_SHA": "AES256-SHA",
        "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    }.items()
}
"""Those of TLS 1.2 that Go's tls.CipherSuites() lists, and what OpenSSL calls them."""

CIPHER_SUITES_13: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """The field tls_server_config, checked. Names of suites and of the curve are OpenSSL's."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    needs_certificate: bool = False
    allowed_names: frozenset[str] = frozenset()
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    cipher_suites: tuple[str, ...] = ()
    prefers_own_suites: bool = True
    curve: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)
    """The line of each field, for the errors in what the files hold."""


class EncryptedKeyError(Exception):
    """The private key has a passphrase, and nobody is there to give it."""


def make_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return a server's context without certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = settings.min_version, settings.max_version
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if settings.prefers_own_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if settings.cipher_suites:
        context.set_ciphers(":".join(settings.cipher_suites))
    if settings.curve:
        context.set_ecdh_curve(settings.curve)
    context.set_alpn_protocols(["http/1.1"])
    if settings.client_ca_file is not None:
        # Optional in the handshake: the kubelet has none. security.py says which requests need one.
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as Go does, an intermediate CA may be the root of trust
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # newer Pythons refuse CAs that Go and kubectl accept
    return context


def load_certificate(context: ssl.SSLContext, settings: TlsSettings) -> None:
    """Load certificate and key. Raises ssl.SSLError, OSError or EncryptedKeyError."""
    context.load_cert_chain(settings.cert_file, settings.key_file, password=_no_passphrase)


def _no_passphrase() -> str:
    raise EncryptedKeyError
