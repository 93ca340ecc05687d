"""The grammar of the web configuration: what is read, and file, line, field and remedy of each error."""

from __future__ import annotations

import random
import re
import ssl
from pathlib import Path

import pytest

from monlat_ebpf.errors import ConfigError
from monlat_ebpf.exposition.web_config import parse

FILE = Path("/etc/monlat/web.yml")
HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"  # of exporter-toolkit's documentation
FULL = f"""\
tls_server_config:
  cert_file: server.crt
  key_file: /keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus.example, "FD00:0::1"]
  min_version: TLS13
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP256]
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: ""
basic_auth_users:
  alice: {HASH}
"""
PAIR = "tls_server_config:\n  cert_file: a\n  key_file: b\n"


def test_every_field_is_read() -> None:
    """Paths are relative to the file; a blank header is not sent."""
    config = parse(FULL, file=FILE)
    tls = config.tls
    assert tls is not None
    assert (tls.cert_file, tls.key_file) == (Path("/etc/monlat/server.crt"), Path("/keys/server.key"))
    assert (tls.client_ca_file, tls.needs_certificate) == (Path("/etc/monlat/ca.crt"), True)
    assert tls.allowed_names == {"prometheus.example", "fd00::1"}
    assert (tls.min_version, tls.max_version) == (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)
    assert tls.cipher_suites == ("ECDHE-RSA-AES128-GCM-SHA256",)
    assert (tls.prefers_own_suites, tls.curve) == (False, "prime256v1")
    assert config.headers == {"Strict-Transport-Security": "max-age=31536000"}
    assert config.users == {"alice": HASH.encode()}


def test_defaults_are_those_of_exporter_toolkit() -> None:
    """TLS 1.2 and 1.3, no client certificate."""
    tls = parse(PAIR, file=FILE).tls
    assert tls is not None
    assert (tls.min_version, tls.max_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    assert (tls.needs_certificate, tls.client_ca_file, tls.prefers_own_suites) == (False, None, True)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("# nothing\n", "1: the file is empty and protects nothing; add tls_server_config, "),
        ("tls_config: {}\n", "1: tls_config: unknown field; did you mean tls_server_config?"),
        ("rate_limit: {burst: 2}\n", "1: rate_limit: is not supported; the server has limits of its own, so remove it"),
        ("tls_server_config:\n", "1: tls_server_config: expected fields, found nothing; the fields are cert_file, "),
        (
            "tls_server_config:\n  cert: x\n",
            "2: tls_server_config.cert: is not supported; write the certificate into a",
        ),
        ("tls_server_config:\n  cert_file: x\n", "2: tls_server_config.key_file: missing; name the file"),
        (PAIR + "  key_file: c\n", "4: tls_server_config.key_file: is also on line 3; keep one"),
        (PAIR + "  min_version: TLS11\n", "4: tls_server_config.min_version: TLS11 is broken and not supported; write"),
        (
            PAIR + "  max_version: '1.3'\n",
            "4: tls_server_config.max_version: '1.3' is no version; write TLS12 or TLS13",
        ),
        (
            PAIR + "  max_version: TLS12\n  min_version: TLS13\n",
            "5: tls_server_config.min_version: is above max_version",
        ),
        (
            PAIR + "  client_auth_type: RequireAnyClientCert\n  client_ca_file: c\n",
            "4: tls_server_config.client_auth_type: RequireAnyClientCert lets in every certificate, as nobody verifies "
            "it; write RequireAndVerifyClientCert",
        ),
        (
            PAIR + "  client_auth_type: RequireAndVerifyClientCert\n",
            "4: tls_server_config.client_ca_file: missing; RequireAndVerifyClientCert needs the CA's certificate",
        ),
        (PAIR + "  client_ca_file: c\n", "4: tls_server_config.client_ca_file: is not used; add client_auth_type: "),
        (PAIR + "  client_allowed_sans: [a]\n", "4: tls_server_config.client_allowed_sans: needs client_auth_type: "),
        (PAIR + "  client_allowed_sans: []\n", "4: tls_server_config.client_allowed_sans: expected a list of texts"),
        (
            PAIR + "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n",
            "4: tls_server_config.cipher_suites: TLS_AES_128_GCM_SHA256",
        ),
        (
            PAIR + "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n",
            "4: tls_server_config.cipher_suites: 'TLS_RSA_WITH_RC4",
        ),
        (
            PAIR + "  curve_preferences: [X25519, CurveP256]\n",
            "4: tls_server_config.curve_preferences: an order of several",
        ),
        ("http_server_config: {http2: true}\n", "1: http_server_config.http2: HTTP/2 is not supported; write false"),
        (
            "http_server_config: {headers: {X-Frame-Options: no}}\n",
            "1: http_server_config.headers.X-Frame-Options: 'no'",
        ),
        (
            'http_server_config: {headers: {X-XSS-Protection: "a\\r\\nb: c"}}\n',
            "1: http_server_config.headers.X-XSS-Prot",
        ),
        ("http_server_config: {headers: {Server: x}}\n", "1: http_server_config.headers.Server: unknown field; "),
        ("basic_auth_users: {}\n", "1: basic_auth_users: expected users with their bcrypt hashes; add one, or remove"),
        (f"basic_auth_users: {{'a:b': '{HASH}'}}\n", "1: basic_auth_users: expected a user's name; it has no colon"),
        (
            f"basic_auth_users: {{alice: '{HASH.replace('$10$', '$31$')}'}}\n",
            "1: basic_auth_users.alice: the cost 31 is out of range; make a hash of 4 to 16, for example 10",
        ),
        ("basic_auth_users: *a\n", "1: aliases such as *a are not supported; write the value itself"),
    ],
)
def test_error_names_file_line_field_and_remedy(text: str, error: str) -> None:
    """Nothing is ignored."""
    with pytest.raises(ConfigError) as raised:
        parse(text, file=FILE)
    assert str(raised.value).startswith(f"{FILE}:{error}")


def test_error_does_not_quote_a_password() -> None:
    """Who writes the password where its hash belongs does not find it in the log."""
    with pytest.raises(ConfigError) as raised:
        parse("basic_auth_users: {alice: hunter2}\n", file=FILE)
    assert "hunter2" not in str(raised.value)
    assert "basic_auth_users.alice: not a bcrypt hash; make one with `htpasswd" in str(raised.value)


def test_damaged_files_are_clear_errors() -> None:
    """10,007 damaged files: each is read, or is a ConfigError with file and line."""
    chance = random.Random(7)
    junk = [
        "\t",
        ":",
        "{",
        "}",
        "[",
        "]",
        "'",
        '"',
        "\n",
        "  ",
        "*a",
        "&a ",
        "\x00",
        "é",
        "- ",
        "null",
        "TLS13",
        "2",
        "|",
    ]
    errors = []
    for _ in range(10_007):
        text = FULL
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(text))
            text = text[:start] + chance.choice([*junk, ""]) + text[start + chance.choice((0, 0, 1, 30)) :]
        try:
            parse(text, file=FILE)
        except ConfigError as error:
            errors.append(str(error))
    assert len(errors) > 5_000
    assert [error for error in errors if not re.match(r"/etc/monlat/web\.yml:\d+: .", error)] == []
