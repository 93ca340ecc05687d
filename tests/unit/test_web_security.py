"""The HTTP server with a web configuration, over real TLS: who is served, and what a changed file does."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from monlat_ebpf.errors import AgentUnreachable, ConfigError
from monlat_ebpf.exposition import client
from monlat_ebpf.exposition.http import Limits, MetricsServer, Response, Route
from monlat_ebpf.exposition.web_security import WebSecurity
from testkit.certificates import make_ca, make_certificate
from testkit.waiting import wait_until
from tests.unit.fake_agent import answer
from tests.unit.fake_collector import diagnosis
from tests.unit.http_server import ROUTES, everything_from

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
ALL_ROUTES: dict[str, Route] = {
    **ROUTES,
    "/healthz": lambda request: Response(b"ok\n"),
    "/readyz": lambda request: Response(b"ok\n"),
}
TLS = "tls_server_config: {cert_file: server.pem, key_file: server.key"
CLIENT_TLS = TLS + ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem"
USERS = f'basic_auth_users: {{alice: "{HASH}"}}\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    ca = make_ca(directory)
    make_certificate(directory, ca, "server")
    make_certificate(directory, ca, "renewed")
    make_certificate(directory, ca, "client", "DNS:prometheus.example,IP:fd00::1")
    make_certificate(directory, make_ca(directory, "other"), "stranger", "DNS:prometheus.example")
    return directory


@pytest.fixture
def certificates(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "web")
    return tmp_path / "web"


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Served:
    """A server with a web configuration, and what it said of its files."""

    def __init__(
        self,
        cleanup: ExitStack,
        directory: Path,
        text: str,
        *,
        limits: Limits | None = None,
        routes: dict[str, Route] = ALL_ROUTES,
    ) -> None:
        self.directory, self.file = directory, directory / "web.yml"
        self.file.write_text(text)
        self.reports: list[bool] = []
        security = WebSecurity(self.file, report=self.reports.append, poll_seconds=0.02)
        security.start()
        cleanup.callback(security.stop)
        self.server = cleanup.enter_context(
            MetricsServer([("127.0.0.1", 0)], routes, security=security.current, limits=limits)
        )

    def curl(self, path: str = "/", *options: str) -> tuple[int, str]:
        """Status and body; status 0 if TLS itself failed."""
        done = subprocess.run(
            [
                *("curl", "-s", "--cacert", str(self.directory / "ca.pem"), "-w", "\n%{http_code}", *options),
                f"https://127.0.0.1:{self.server.port}{path}",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    def with_certificate(self, name: str) -> tuple[str, ...]:
        return "--cert", str(self.directory / f"{name}.pem"), "--key", str(self.directory / f"{name}.key")

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        plain = socket.create_connection(("127.0.0.1", self.server.port), timeout=20)
        return context.wrap_socket(plain, server_hostname="localhost")


def test_curl_gets_small_and_large_answers_over_tls(cleanup: ExitStack, certificates: Path) -> None:
    """One connection carries both; the large one is 16 MiB."""
    served = Served(cleanup, certificates, TLS + "}\n")
    assert served.curl("/") == (200, "index\n")
    status, body = served.curl("/large")
    assert (status, len(body)) == (200, 256 * 65536)


def test_plain_http_to_a_tls_port_gets_an_answer(cleanup: ExitStack, certificates: Path) -> None:
    """400, and the remedy, as Go's servers say it."""
    served = Served(cleanup, certificates, TLS + "}\n")
    with socket.create_connection(("127.0.0.1", served.server.port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"400 Bad Request" in everything_from(client)


def test_tls_1_2_client_is_refused_when_the_least_version_is_1_3(cleanup: ExitStack, certificates: Path) -> None:
    """The handshake fails; a client of TLS 1.3 is served."""
    served = Served(cleanup, certificates, TLS + ", min_version: TLS13}\n")
    assert served.curl("/", "--tls-max", "1.2") == (0, "")
    assert served.curl("/") == (200, "index\n")


def test_cipher_suite_is_the_one_of_the_file(cleanup: ExitStack, certificates: Path) -> None:
    """Go's name in the file is OpenSSL's in the connection."""
    suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    served = Served(cleanup, certificates, TLS + f", max_version: TLS12, cipher_suites: [{suite}]}}\n")
    with served.connect() as client:
        cipher = client.cipher()
    assert cipher is not None
    assert cipher[:2] == ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2")


def test_client_without_a_certificate_gets_only_the_probes_of_the_kubelet(
    cleanup: ExitStack, certificates: Path
) -> None:
    """403 for the measurements, 200 for /healthz and /readyz; a certificate of another CA fails the handshake."""
    served = Served(cleanup, certificates, CLIENT_TLS + "}\n")
    assert served.curl("/") == (403, "a client certificate is needed here\n")
    assert served.curl("//healthz")[0] == 403
    assert [served.curl(path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
    assert served.curl("/", *served.with_certificate("client")) == (200, "index\n")
    assert served.curl("/", *served.with_certificate("stranger"))[0] == 0


@pytest.mark.parametrize(
    ("allowed", "status"), [("prometheus.example", 200), ("fd00:0::1", 200), ("example", 403), ("PROMETHEUS", 403)]
)
def test_names_of_the_client_are_compared_whole(
    cleanup: ExitStack, certificates: Path, allowed: str, status: int
) -> None:
    """An address in any form, a DNS name letter by letter."""
    served = Served(cleanup, certificates, CLIENT_TLS + f", client_allowed_sans: ['{allowed}']}}\n")
    assert served.curl("/", *served.with_certificate("client"))[0] == status


def test_passwords(cleanup: ExitStack, certificates: Path) -> None:
    """A user with the right password is served; without, 401, but for the kubelet's probes."""
    served = Served(cleanup, certificates, TLS + "}\n" + USERS)
    assert served.curl("/", "-u", "alice:secret") == (200, "index\n")
    assert served.curl("/streamed", "-u", "alice:secret") == (200, "alpha\nbeta\n")
    assert [served.curl("/", *("-u", pair))[0] for pair in ("alice:other", "bob:secret", ":")] == [401] * 3
    assert served.curl("/")[0] == 401
    assert served.curl("/", "-I")[0] == 401
    assert served.curl("/healthz")[0] == 200


def test_headers_of_the_file_are_in_every_answer(cleanup: ExitStack, certificates: Path) -> None:
    """Also in a refusal."""
    headers = "http_server_config: {headers: {X-Frame-Options: deny, X-XSS-Protection: ''}}\n"
    served = Served(cleanup, certificates, TLS + "}\n" + headers + USERS)
    _, head = served.curl("/", "-I")
    assert "X-Frame-Options: deny" in head
    assert "X-XSS-Protection" not in head


def test_silent_and_slow_handshakes_do_not_stop_a_scrape(cleanup: ExitStack, certificates: Path) -> None:
    """211 clients that begin TLS and stop: 7 scrapes are answered, and at most 64 connections are kept."""
    served = Served(cleanup, certificates, TLS + "}\n")
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the beginning of a ClientHello
    for number in range(211):
        client = cleanup.enter_context(socket.create_connection(("127.0.0.1", served.server.port), timeout=20))
        client.sendall(hello[: number % len(hello)])
    for _ in range(7):
        assert served.curl("/")[0] == 200
        assert served.server.clients <= 64


def test_unfinished_handshake_ends_in_time(cleanup: ExitStack, certificates: Path) -> None:
    """The time limit of a request holds for the handshake as well."""
    served = Served(cleanup, certificates, TLS + "}\n", limits=Limits(idle_seconds=0.2))
    with socket.create_connection(("127.0.0.1", served.server.port), timeout=20) as client:
        client.sendall(b"\x16\x03\x01")
        assert everything_from(client) == b""


def test_new_certificate_serves_new_connections(cleanup: ExitStack, certificates: Path) -> None:
    """A connection of before is ended after its next answer."""
    served = Served(cleanup, certificates, TLS + "}\n")

    def subject() -> object:
        with served.connect() as client:
            certificate = client.getpeercert()
            return certificate and certificate["subject"]

    with served.connect() as kept:
        assert subject() == ((("commonName", "server"),),)
        for suffix in (".pem", ".key"):
            shutil.copy(certificates / f"renewed{suffix}", certificates / f"server{suffix}")
        wait_until(lambda: subject() == ((("commonName", "renewed"),),))
        kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, body = everything_from(kept).partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert body == b"index\n"


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("server.pem", "nothing", "server.pem holds no certificate in PEM form"),
        ("server.key", "nothing", "server.key holds no private key in PEM form"),
        ("web.yml", "", "web.yml:1: the file is empty and protects nothing"),
        ("web.yml", USERS, "TLS begins or ends only at a start"),
    ],
    ids=["no certificate", "no key", "empty", "no TLS"],
)
def test_bad_file_keeps_the_last_good_one(
    cleanup: ExitStack, certificates: Path, caplog: pytest.LogCaptureFixture, name: str, content: str, error: str
) -> None:
    """One error in the log, the metric is 0, clients are served as before; a good file ends that."""
    served = Served(cleanup, certificates, TLS + "}\n")
    good = (certificates / name).read_text()
    (certificates / name).write_text(content)
    wait_until(lambda: served.reports[-1] is False)
    assert served.curl("/")[0] == 200
    assert error in next(record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    (certificates / name).write_text(good)
    wait_until(lambda: served.reports[-1] is True)
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


def test_key_that_is_not_the_certificates_is_an_error(certificates: Path) -> None:
    """File, line and field of the certificate, and both files' names."""
    (certificates / "web.yml").write_text("tls_server_config:\n  cert_file: server.pem\n  key_file: client.key\n")
    with pytest.raises(ConfigError, match=r"web\.yml:2: tls_server_config\.cert_file: .*server\.pem and .*client\.key"):
        WebSecurity(certificates / "web.yml", report=lambda _: None).start()


def test_missing_key_is_an_error(certificates: Path) -> None:
    """The message has the path that was tried."""
    (certificates / "web.yml").write_text("tls_server_config:\n  cert_file: server.pem\n  key_file: none.key\n")
    with pytest.raises(ConfigError, match=r"web\.yml:3: tls_server_config\.key_file: .*none\.key cannot be read"):
        WebSecurity(certificates / "web.yml", report=lambda _: None).start()


@pytest.mark.parametrize(
    ("command", "path", "document", "failed"),
    [("peers", "/api/v1/peers", answer(), 1), ("diagnose", "/api/v1/diagnosis", diagnosis(), 2)],
)
def test_commands_ask_a_protected_server(
    cleanup: ExitStack, certificates: Path, command: str, path: str, document: dict[str, Any], failed: int
) -> None:
    """With CA, certificate and user the answer comes; without one of them the error names the option."""
    body = json.dumps(document).encode()
    routes: dict[str, Route] = {path: lambda request: Response(lambda: [body], "application/json")}
    served = Served(cleanup, certificates, CLIENT_TLS + "}\n" + USERS, routes=routes)
    both = certificates / "both.pem"
    both.write_bytes(b"".join((certificates / f"client.{kind}").read_bytes() for kind in ("pem", "key")))
    (certificates / "user").write_text("alice:secret\n")
    options = {"--ca": "ca.pem", "--cert": "both.pem", "--user-file": "user"}

    def ask(*without: str) -> subprocess.CompletedProcess[str]:
        given = [text for flag, name in options.items() if flag not in without for text in (flag, certificates / name)]
        url = f"https://localhost:{served.server.port}"
        line = [sys.executable, "-m", "monlat_ebpf", command, "--json", "--url", url, *map(str, given)]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    assert json.loads(ask().stdout) == document
    for flag in options:
        done = ask(flag)
        assert (done.returncode, done.stdout) == (failed, "")
        assert f"{flag} FILE (MONLAT_{flag[2:].upper().replace('-', '_')})" in done.stderr


def test_command_without_tls_says_that_the_agent_has_it(cleanup: ExitStack, certificates: Path) -> None:
    """As the default URL does."""
    served = Served(cleanup, certificates, TLS + "}\n")
    with pytest.raises(AgentUnreachable, match="it speaks TLS: ask it with --url https://"):
        client.ask(f"http://127.0.0.1:{served.server.port}")
