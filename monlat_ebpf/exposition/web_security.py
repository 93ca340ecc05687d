"""Follows the web configuration and the certificates that it names.

New connections get what the files hold now. If a file becomes unreadable or wrong, the last good content stays in use.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from monlat_ebpf.errors import ConfigError
from monlat_ebpf.exposition.security import Security
from monlat_ebpf.exposition.tls_context import EncryptedKeyError, TlsSettings, load_certificate, make_context
from monlat_ebpf.exposition.web_config import parse
from monlat_ebpf.host.followed_file import POLL_SECONDS, FileState, Follower, poll, read

_LOG = logging.getLogger(__name__)

_LARGEST: Final = 1024 * 1024  # bytes of each file
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----")
_KEY: Final = re.compile(rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----")


class WebSecurity:
    """What `file` asks of clients, as of the last time that all files were good. `report` gets whether they are now."""

    def __init__(self, file: Path, *, report: Callable[[bool], None], poll_seconds: float = POLL_SECONDS) -> None:
        self._file = file
        self._report = report
        self._read: dict[Path, FileState] = {file: ""}  # the files that were read, and in which state
        self._security = Security()
        self._error = ""
        self._follower = Follower(self._poll, self._reload, name="web-config", poll_seconds=poll_seconds)

    def current(self) -> Security:
        """Return what holds for a connection or request that begins now."""
        return self._security

    def start(self) -> None:
        """Read the files, then follow them in a thread. Raises ConfigError."""
        self._security = self._load()
        self._report(True)
        _LOG.info("%s: %s", self._file, _summary(self._security))
        if self._security.users and self._security.context is None:
            _LOG.warning(
                "%s: without TLS, passwords cross the network in plain text: add tls_server_config", self._file
            )
        self._follower.start(tuple(self._read.items()))

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        self._follower.stop()

    def _poll(self) -> object:
        return tuple((path, poll(path)) for path in self._read)

    def _reload(self, _: object) -> object:
        """Use the files as they are now, and return the state in which they were read."""
        self._use_again()
        return tuple(self._read.items())

    def _use_again(self) -> None:
        try:
            loaded = self._load()
            if (loaded.context is None) != (self._security.context is None):
                raise ConfigError(
                    f"{self._file}: tls_server_config: TLS begins or ends only at a start; start the agent again"
                )
        except ConfigError as error:
            if str(error) != self._error:
                self._error = str(error)
                _LOG.error("%s; keeping the last good web configuration", error)
            self._report(False)
            return
        self._security, self._error = loaded, ""
        self._report(True)
        _LOG.info("%s: read again: %s", self._file, _summary(loaded))

    def _load(self) -> Security:
        self._read = {}
        config = parse(self._text(), file=self._file)
        tls = config.tls
        return Security(
            context=self._context(tls) if tls else None,
            needs_certificate=bool(tls and tls.needs_certificate),
            allowed_names=tls.allowed_names if tls else frozenset(),
            users=config.users,
            headers=config.headers,
        )

    def _text(self) -> str:
        content = self._content(self._file, f"{self._file}:1:")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ConfigError(f"{self._file}:{line}: not UTF-8; save the file as UTF-8") from error

    def _context(self, tls: TlsSettings) -> ssl.SSLContext:
        context = make_context(tls)
        where = {name: f"{self._file}:{line}: tls_server_config.{name}:" for name, line in tls.lines.items()}
        if not _CERTIFICATE.search(self._content(tls.cert_file, where["cert_file"])):
            raise ConfigError(
                f"{where['cert_file']} {tls.cert_file} holds no certificate in PEM form; name another file"
            )
        if not _KEY.search(self._content(tls.key_file, where["key_file"])):
            raise ConfigError(f"{where['key_file']} {tls.key_file} holds no private key in PEM form; name another file")
        try:
            load_certificate(context, tls)
        except EncryptedKeyError as error:
            remedy = "store it without, readable by monlat alone"
            raise ConfigError(f"{where['key_file']} {tls.key_file} has a passphrase; {remedy}") from error
        except (ssl.SSLError, OSError) as error:
            reason = f"{tls.cert_file} and {tls.key_file} are not usable together: {_reason(error)}"
            raise ConfigError(f"{where['cert_file']} {reason}; give the certificate and its own key") from error
        if tls.client_ca_file is not None:
            at = where["client_ca_file"]
            text = self._content(tls.client_ca_file, at).decode("ascii", errors="replace")
            try:
                context.load_verify_locations(cadata=text)
            except (ssl.SSLError, ValueError) as error:
                reason = f"{tls.client_ca_file} holds no certificate in PEM form that can be read"
                raise ConfigError(f"{at} {reason}: {_reason(error)}; name the CA's file") from error
        return context

    def _content(self, path: Path, where: str) -> bytes:
        try:
            self._read[path], content = read(path, _LARGEST)
        except OSError as error:
            self._read[path] = poll(path)
            remedy = f"monlat runs as user {os.geteuid()} without the rights of root: let it read the file"
            if not isinstance(error, PermissionError):
                remedy = "check the name, which is relative to the web configuration"
            reason = f"{path} cannot be read: {error.strerror or error}"
            raise ConfigError(f"{where} {reason}; {remedy}") from error
        if len(content) > _LARGEST:
            raise ConfigError(f"{where} {path} is larger than {_LARGEST >> 20} MiB; name another file")
        return content


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).lower().replace("_", " ")


def _summary(security: Security) -> str:
    certificates = ", client certificates" if security.needs_certificate else ""
    transport = f"TLS{certificates}" if security.context else "no TLS"
    return f"{transport}, {len(security.users)} users"
