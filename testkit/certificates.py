"""Certificates for tests, made with the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_ca(directory: Path, name: str = "ca") -> Path:
    """A CA without the extension keyUsage, which newer Pythons refuse in strict mode. Returns its certificate."""
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"),
        *("-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE"),
        *("-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.pem")),
    )
    return directory / f"{name}.pem"


def make_certificate(directory: Path, ca: Path, name: str, names: str = "DNS:localhost,IP:127.0.0.1,IP:::1") -> Path:
    """A certificate with these alternative names; returns its file. The key is beside it, ending in .key."""
    request, extensions = directory / f"{name}.csr", directory / f"{name}.ext"
    extensions.write_text(f"subjectAltName={names}\n")
    certificate = directory / f"{name}.pem"
    _openssl(
        *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"),
        *("-keyout", str(directory / f"{name}.key"), "-out", str(request)),
    )
    _openssl(
        *("x509", "-req", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca.with_suffix(".key"))),
        *("-CAcreateserial", "-days", "30", "-extfile", str(extensions), "-out", str(certificate)),
    )
    return certificate


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
