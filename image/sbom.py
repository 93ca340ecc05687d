"""Print the image's software bill of materials, CycloneDX 1.6: sbom.py TREE DEBS SITE_PACKAGES PIP_REPORT.

It lists the Debian packages that TREE's dpkg status.d names, with the hashes of their archives in DEBS, and the Python
packages in SITE_PACKAGES, with the hashes of the wheels that pip installed, as its report says. It has no time stamp
and no serial number: the same packages give the same text.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from email import message_from_string
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote


def component(name: str, version: str, purl: str, licences: list[dict[str, Any]], sha256: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if licences:
        found["licenses"] = licences
    if sha256:
        found["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    return found


def debian_licences(copyright_file: Path) -> list[dict[str, Any]]:
    """Read Debian's machine-readable copyright format 1.0; other files give no licence."""
    text = copyright_file.read_text(errors="replace") if copyright_file.is_file() else ""
    if not text.startswith("Format:"):
        return []
    names = {" ".join(name.split()) for name in re.findall(r"^License:[ \t]*(\S.*)$", text, re.MULTILINE)}
    return [{"license": {"name": name}} for name in sorted(names)]


def debian_package(status: Path, tree: Path, debs: Path) -> dict[str, Any]:
    fields = message_from_string(status.read_text())
    name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
    archive = debs / f"{name}_{version.replace(':', '%3a')}_{architecture}.deb"
    return component(
        name,
        version,
        f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={architecture}",
        debian_licences(tree / "usr/share/doc" / name / "copyright"),
        hashlib.sha256(archive.read_bytes()).hexdigest(),
    )


def python_licences(found: Distribution) -> list[dict[str, Any]]:
    """Return the licence expression (PEP 639), else the older field if it is a name, else the classifiers' names."""
    if expression := found.metadata["License-Expression"]:
        return [{"expression": expression}]
    text = (found.metadata["License"] or "").strip()
    if text and "\n" not in text:
        return [{"license": {"name": text}}]
    classifiers = found.metadata.get_all("Classifier") or []
    names = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: ")]
    return [{"license": {"name": name}} for name in names]


def python_package(found: Distribution, hashes: dict[str, str]) -> dict[str, Any]:
    name = re.sub(r"[-_.]+", "-", found.name).lower()
    purl = f"pkg:pypi/{name}@{found.version}"
    return component(name, found.version, purl, python_licences(found), hashes.get(name, ""))


def main(tree: Path, debs: Path, site_packages: Path, report: Path) -> None:
    hashes = {
        re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["download_info"]["archive_info"]["hashes"][
            "sha256"
        ]
        for item in json.loads(report.read_text())["install"]
    }
    python = sorted(
        (python_package(found, hashes) for found in distributions(path=[str(site_packages)])),
        key=lambda each: each["name"],
    )
    (program,) = [each for each in python if each["name"] == "monlat-ebpf"]
    debian = [debian_package(status, tree, debs) for status in sorted((tree / "var/lib/dpkg/status.d").iterdir())]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": program | {"type": "application"}},
        "components": [*debian, *(each for each in python if each is not program)],
    }
    print(json.dumps(bill, indent=1))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
