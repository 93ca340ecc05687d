"""How a command reaches an agent that is protected by --web-config: CA, certificate, user and password."""

from __future__ import annotations

import base64
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from monlat_ebpf.config_text import refuse

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, slots=True)
class ClientAccess:
    """The files, each None if there is none."""

    ca: Path | None = None
    cert: Path | None = None
    user_file: Path | None = None

    def opener(self, url: str) -> urllib.request.OpenerDirector:
        """Return what opens `url`, without a proxy. Raises ConfigError for a file that is not usable."""
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=self.context()))
        return urllib.request.build_opener(*handlers)

    def request(self, url: str) -> urllib.request.Request:
        """Return a request for `url` with user and password. Raises ConfigError."""
        request = urllib.request.Request(url)  # noqa: S310  # the client has checked the scheme
        if authorization := self.authorization():
            request.add_unredirected_header("Authorization", authorization)
        return request

    def authorization(self) -> str | None:
        """Return the value of the header Authorization, None without a user. Raises ConfigError."""
        if self.user_file is None:
            return None
        return f"Basic {base64.b64encode(self._user_and_password(self.user_file)).decode()}"

    def context(self) -> ssl.SSLContext:
        """Return what verifies the agent and has the client's certificate. Raises ConfigError."""
        import ssl  # here: the other commands do not need it

        try:
            context = ssl.create_default_context(cafile=self.ca and str(self.ca))
        except (OSError, ssl.SSLError) as error:
            refuse("ca", f"{self.ca} is not usable: {_reason(error)}; name a file with the CA in PEM form")
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # newer Pythons refuse CAs that kubectl and Go accept
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert)
            except (OSError, ssl.SSLError) as error:
                refuse("cert", f"{self.cert} is not usable: {_reason(error)}; name a PEM file with certificate and key")
        return context

    def _user_and_password(self, file: Path) -> bytes:
        try:
            first, *_ = [*file.read_bytes().splitlines(), b""]
        except OSError as error:
            refuse("user-file", f"{file} cannot be read: {error.strerror}; name a file with USER:PASSWORD")
        if b":" not in first:
            refuse("user-file", f"{file} does not begin with USER:PASSWORD; write both on its first line")
        return first


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
