"""The web configuration: a YAML file in the form of Prometheus' exporter-toolkit. Pure.

Every error is a ConfigError that begins with `file:line:` and names the field. What this server does not support is an
error too, which says what to write instead. No message quotes a password's hash, as it may be the password itself.
docs/web-config.md has the fields.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from monlat_ebpf.errors import ConfigError
from monlat_ebpf.exposition.tls_context import CIPHER_SUITES, CIPHER_SUITES_13, CURVES, VERSIONS, TlsSettings
from monlat_ebpf.exposition.tls_stream import canonical_name
from monlat_ebpf.yaml_items import Items, Node, Pairs, Scalar, kind_of, read_document

_TOP: Final = ("tls_server_config", "http_server_config", "basic_auth_users")
_TLS: Final = (
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
)
_HTTP: Final = ("http2", "headers")
_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""The headers that exporter-toolkit allows, and the values of those that have a choice."""

_UNSUPPORTED: Final = {
    "rate_limit": "is not supported; the server has limits of its own, so remove it",
    "cert": "is not supported; write the certificate into a file and name it in cert_file",
    "key": "is not supported; write the key into a file and name it in key_file",
    "client_ca": "is not supported; write the CA's certificate into a file and name it in client_ca_file",
}
_UNVERIFIED: Final = "lets in every certificate, as nobody verifies it"
_CLIENT_AUTH: Final = {
    "RequestClientCert": f"{_UNVERIFIED}; write NoClientCert",
    "RequireAnyClientCert": f"{_UNVERIFIED}; write RequireAndVerifyClientCert",
    "RequireClientCert": f"{_UNVERIFIED}; write RequireAndVerifyClientCert",
}
"""Client policies that are refused, and why."""

_VERIFYING: Final = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
_BCRYPT: Final = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{53}", re.ASCII)
_LOWEST_COST, _HIGHEST_COST = 4, 16  # bcrypt's least; 16 takes some 5 s
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The content of a web configuration."""

    tls: TlsSettings | None
    users: Mapping[str, bytes]
    headers: Mapping[str, str]


def parse(text: str, *, file: Path) -> WebConfig:
    """Return the settings in `text`. Paths in it are relative to the directory of `file`. Raises ConfigError."""
    return _Parser(file).config(read_document(text, file=str(file)))


@dataclass(frozen=True, slots=True)
class _Parser:
    file: Path

    def config(self, root: Node) -> WebConfig:
        if isinstance(root, Scalar) and root.text is None:
            self._refuse(root.line, "", f"the file is empty and protects nothing; add {_listed(_TOP)}")
        fields = self._mapping(root, "", _TOP)
        tls = fields.get("tls_server_config")
        http = fields.get("http_server_config")
        users = fields.get("basic_auth_users")
        return WebConfig(
            tls=self._tls(tls) if tls else None,
            users=self._users(users) if users else {},
            headers=self._http(http) if http else {},
        )

    def _tls(self, node: Node) -> TlsSettings:
        at = "tls_server_config"
        fields = self._mapping(node, at, _TLS)
        for name in ("cert_file", "key_file"):
            if name not in fields:
                self._refuse(node.line, f"{at}.{name}", "missing; name the file, in PEM form")
        needs_certificate, verifies = self._client_auth(fields, at)
        allowed = self._texts(fields, f"{at}.client_allowed_sans")
        if allowed and not needs_certificate:
            self._refuse(
                fields["client_allowed_sans"].line,
                f"{at}.client_allowed_sans",
                "needs client_auth_type: RequireAndVerifyClientCert; add it, or remove this field",
            )
        least, most = (self._version(fields, f"{at}.{name}") for name in ("min_version", "max_version"))
        if least == "TLS13" and most == "TLS12":
            self._refuse(fields["min_version"].line, f"{at}.min_version", "is above max_version; lower it")
        return TlsSettings(
            cert_file=self._path(fields["cert_file"], f"{at}.cert_file"),
            key_file=self._path(fields["key_file"], f"{at}.key_file"),
            client_ca_file=self._path(fields["client_ca_file"], f"{at}.client_ca_file") if verifies else None,
            needs_certificate=needs_certificate,
            allowed_names=frozenset(map(canonical_name, allowed)),
            min_version=VERSIONS[least or "TLS12"],
            max_version=VERSIONS[most or "TLS13"],
            cipher_suites=tuple(self._suite(fields["cipher_suites"], name, at) for name in self._suites(fields, at)),
            prefers_own_suites=self._boolean(fields, f"{at}.prefer_server_cipher_suites", default=True),
            curve=self._curve(fields, f"{at}.curve_preferences"),
            lines={name: value.line for name, value in fields.items()},
        )

    def _client_auth(self, fields: Mapping[str, Node], at: str) -> tuple[bool, bool]:
        """Return whether a client needs a certificate, and whether those that are sent are verified."""
        name, has_ca = f"{at}.client_auth_type", "client_ca_file" in fields
        policy = self._text(fields["client_auth_type"], name) if "client_auth_type" in fields else "NoClientCert"
        if policy in _CLIENT_AUTH:
            self._refuse(fields["client_auth_type"].line, name, f"{policy} {_CLIENT_AUTH[policy]}")
        if policy not in ("NoClientCert", *_VERIFYING):
            remedy = f"write {_listed(('NoClientCert', *_VERIFYING))}"
            self._refuse(fields["client_auth_type"].line, name, f"{policy[:_SHOWN]!r} is no policy; {remedy}")
        if policy in _VERIFYING and not has_ca:
            self._refuse(
                fields["client_auth_type"].line, f"{at}.client_ca_file", f"missing; {policy} needs the CA's certificate"
            )
        if policy == "NoClientCert" and has_ca:
            remedy = "add client_auth_type: RequireAndVerifyClientCert, or remove it"
            self._refuse(fields["client_ca_file"].line, f"{at}.client_ca_file", f"is not used; {remedy}")
        return policy == "RequireAndVerifyClientCert", policy in _VERIFYING

    def _version(self, fields: Mapping[str, Node], at: str) -> str:
        node = fields.get(at.rpartition(".")[2])
        if node is None:
            return ""
        version = self._text(node, at)
        if version in ("TLS10", "TLS11"):
            self._refuse(node.line, at, f"{version} is broken and not supported; write {_listed(VERSIONS)}")
        if version not in VERSIONS:
            self._refuse(node.line, at, f"{version[:_SHOWN]!r} is no version; write {_listed(VERSIONS)}")
        return version

    def _suites(self, fields: Mapping[str, Node], at: str) -> Sequence[str]:
        return self._texts(fields, f"{at}.cipher_suites") if "cipher_suites" in fields else ()

    def _suite(self, node: Node, name: str, at: str) -> str:
        if name in CIPHER_SUITES_13:
            self._refuse(node.line, f"{at}.cipher_suites", f"{name} is TLS 1.3's, which has all of them; remove it")
        if name not in CIPHER_SUITES:
            near = difflib.get_close_matches(name[:_SHOWN], CIPHER_SUITES, n=1, cutoff=0)[0]
            reason = f"{name[:_SHOWN]!r} is unknown or unsafe; write for example {near}"
            self._refuse(node.line, f"{at}.cipher_suites", reason)
        return CIPHER_SUITES[name]

    def _curve(self, fields: Mapping[str, Node], at: str) -> str:
        names = self._texts(fields, at)
        if not names:
            return ""
        line = fields["curve_preferences"].line
        for name in names:
            if name not in CURVES:
                self._refuse(line, at, f"{name[:_SHOWN]!r} is no curve; write one of {_listed(CURVES)}")
        if len(names) > 1:
            remedy = "keep one, or remove the field: then clients choose among all"
            self._refuse(line, at, f"an order of several curves is not supported; {remedy}")
        return CURVES[names[0]]

    def _http(self, node: Node) -> Mapping[str, str]:
        at = "http_server_config"
        fields = self._mapping(node, at, _HTTP)
        if self._boolean(fields, f"{at}.http2", default=False):
            self._refuse(fields["http2"].line, f"{at}.http2", "HTTP/2 is not supported; write false, or remove it")
        at += ".headers"
        headers = {}
        given = self._mapping(fields["headers"], at, _HEADERS) if "headers" in fields else {}
        for name, value in given.items():
            text = self._text(value, f"{at}.{name}", empty=True).strip()
            if not (text.isascii() and text.isprintable()):
                self._refuse(
                    value.line, f"{at}.{name}", "holds a character that a header cannot; use one line of ASCII"
                )
            if text and _HEADERS[name] and text not in _HEADERS[name]:
                self._refuse(
                    value.line, f"{at}.{name}", f"{text[:_SHOWN]!r} is no value; write {_listed(_HEADERS[name])}"
                )
            if text:
                headers[name] = text
        return headers

    def _users(self, node: Node) -> Mapping[str, bytes]:
        at = "basic_auth_users"
        if not isinstance(node, Pairs) or not node.pairs:
            self._refuse(node.line, at, "expected users with their bcrypt hashes; add one, or remove the field")
        users: dict[str, bytes] = {}
        for key, value in node.pairs:
            name = key.text if isinstance(key, Scalar) else None
            if not name or ":" in name or not name.isprintable():
                self._refuse(key.line, at, "expected a user's name; it has no colon and no control character")
            if name in users:
                self._refuse(key.line, at, f"{name[:_SHOWN]!r} is there twice; keep one")
            users[name] = self._hash(value, f"{at}.{name[:_SHOWN]}")
        return users

    def _hash(self, node: Node, at: str) -> bytes:
        match = _BCRYPT.fullmatch(node.text) if isinstance(node, Scalar) and node.text else None
        if match is None:
            self._refuse(
                node.line, at, "not a bcrypt hash; make one with `htpasswd -nBC 10 NAME`, and put it in quotes"
            )
        if not _LOWEST_COST <= int(match["cost"]) <= _HIGHEST_COST:
            limits = f"{_LOWEST_COST} to {_HIGHEST_COST}"
            self._refuse(
                node.line, at, f"the cost {match['cost']} is out of range; make a hash of {limits}, for example 10"
            )
        return match.group().encode()

    # values

    def _mapping(self, node: Node, at: str, known: Sequence[str] | Mapping[str, object]) -> Mapping[str, Node]:
        if not isinstance(node, Pairs) or not node.pairs:
            self._refuse(node.line, at, f"expected fields, found {kind_of(node)}; the fields are {_listed(known)}")
        fields: dict[str, Node] = {}
        for key, value in node.pairs:
            name = key.text if isinstance(key, Scalar) else None
            if name is None:
                self._refuse(
                    key.line, at, f"expected a field's name, found {kind_of(key)}; the fields are {_listed(known)}"
                )
            inner = f"{at}.{name[:_SHOWN]}".removeprefix(".")
            if name not in known:
                near = difflib.get_close_matches(name[:_SHOWN], known, n=1)
                remedy = f"did you mean {near[0]}?" if near else f"the fields are {_listed(known)}"
                self._refuse(key.line, inner, _UNSUPPORTED.get(name, f"unknown field; {remedy}"))
            if name in fields:
                self._refuse(key.line, inner, f"is also on line {fields[name].line}; keep one")
            fields[name] = value
        return fields

    def _text(self, node: Node, at: str, *, empty: bool = False) -> str:
        if not isinstance(node, Scalar) or not (node.text or empty):
            self._refuse(node.line, at, f"expected a text, found {kind_of(node)}")
        return node.text or ""

    def _texts(self, fields: Mapping[str, Node], at: str) -> Sequence[str]:
        """Return the list in the field; empty without the field. An empty list is refused."""
        node = fields.get(at.rpartition(".")[2])
        if node is None:
            return ()
        if not isinstance(node, Items) or not node.items:
            self._refuse(
                node.line, at, f"expected a list of texts, found {kind_of(node)}; add one, or remove the field"
            )
        return [self._text(item, at) for item in node.items]

    def _boolean(self, fields: Mapping[str, Node], at: str, *, default: bool) -> bool:
        node = fields.get(at.rpartition(".")[2])
        if node is None:
            return default
        text = self._text(node, at)
        if text.lower() not in ("true", "false"):
            self._refuse(node.line, at, f"expected true or false, found {kind_of(node)}")
        return text.lower() == "true"

    def _path(self, node: Node, at: str) -> Path:
        text = self._text(node, at)
        if "\0" in text:
            self._refuse(node.line, at, "a path has no zero byte")
        return self.file.parent / text

    def _refuse(self, line: int, at: str, reason: str) -> NoReturn:
        raise ConfigError(f"{self.file}:{line}: {at}: {reason}" if at else f"{self.file}:{line}: {reason}")


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
