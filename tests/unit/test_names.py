"""Words that the project has replaced do not come back: in code, metrics, JSON, flags, scripts or prose.

Some had several meanings ("place"), some have another in networks ("neighbour", "verdict"), some are literary.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
READ = (".ci", "bench", "bpf", "docs", "image", "manifests", "monlat_ebpf", "scripts", "testkit", "tests")
READ_FILES = ("CHANGELOG.md", "Dockerfile", "README.md", "pyproject.toml")

ANYWHERE = {
    "settle settles settled settling unsettled": "resolve (a probe), debounce (a file, an API)",
    "conversation conversations": "session",
    "dialogue dialogues": "feedback",
    "speech": "PeerReport, ReceptionReport",
    "verdict verdicts": "diagnosis; a verdict is netfilter's",
    "trouble troubles": "errors",
    "foreign": "unmatched",
    "homeless": "unplaced",
    "burden burdens": "load",
    "doubt doubts doubtful": "uncertainty",
    "mend mends mended mending": "remedy",
}
"""Words that stand in no identifier and in no prose, and what to write."""

IN_IDENTIFIERS = {
    "neighbour neighbours neighbor neighbors": "peer index; neighbours are ARP's and NDP's",
    "place places": "slot, index or position",
    "told heard word words": "PeerReport, ReceptionReport, EmulatedPeer",
    "figure figures": "samples or report",
    "standing": "EndpointState",
}
"""Words that stand in no identifier; prose has other uses for them."""

ALLOWED = "in_place|no_neighbour|probe[_-]?neighbours"
"""Parts of identifiers: an idiom, an error of ARP's and NDP's, the flag `--probe-neighbours`."""

WHOLE_IDENTIFIERS = {
    "FreePlaces": "IndexPool",
    "Memory": "TargetHistory",
    "RequestBudget": "RateLimiter",
    "Standing": "EndpointState",
    "Wake": "WakeEvent",
    "hang_up": "abort",
    "look": "poll",
    "one_peer": "peer_detail",
    "refused": "rejected",
}

PHRASES = {
    r"\brefused[ _-](feedback|reports?)\b|\bfeedback[ _-]refused\b": "rejected feedback",
    r"\bown\.py\b": "self_metrics.py",
    r"(?<!in )(?<!take )(?<!takes )(?<!took )(?<!first )(?<!decimal )\bplaces?\b": "slot, index, position, where",
    r"\btables? of neighbours\b|\bneighbours?' table\b|\bneighbour table\b": "peer index",
    r"\bDESIGN\b(?=[, ]*(section|\d))": "a document in docs/: the repository has no DESIGN",
}
"""Prose, as regular expressions."""


class Use(NamedTuple):
    """A legitimate use: files (as fnmatch matches their path), the words, the reason."""

    files: str
    words: str
    reason: str


LEGITIMATE = [
    Use("*/test_names.py", "*", "the list itself"),
    Use("monlat_ebpf/doctor/firewall.py", "verdict*", "netfilter's verdicts"),
    Use("tests/unit/test_doctor_firewall.py", "verdict*", "netfilter's verdicts"),
    Use("monlat_ebpf/abi/*.py", "Memory", "the buffer type of tables"),
    Use("monlat_ebpf/sources/socket/table.py", "Memory", "the buffer type of tables"),
    Use("tests/unit/test_[ps]*s.py", "Memory", "the buffer type of tables"),
    Use("tests/cluster/containers.py", "Memory", "the medium of an emptyDir in Kubernetes"),
    Use("monlat_ebpf/cli/doctor_text.py", "words", "textwrap's break_long_words"),
    Use("monlat_ebpf/sources/socket/filters.py", "word", "the BPF instruction that loads a word"),
    Use("tests/kernel/refusing_bpf.py", "word", "the BPF instruction that loads a word"),
    Use("tests/unit/test_echo.py", "word", "16-bit words of the checksum"),
    Use("bpf/*.h", "words", "64-bit words of a window or an address"),
    Use("image/starter.c", "word", "32-bit words of capget"),
    Use("testkit/packets.py", "words", "32-bit words of a header's length"),
    Use("tests/kernel/test_dead_neighbours.py", "neighbours", "ARP's and NDP's"),
    Use("scripts/test", "neighbours", "the file of the test of ARP's and NDP's"),
    Use("tests/kernel/test_interfaces.py", "refused", "sends that the kernel refused"),
]


class Hit(NamedTuple):
    file: str
    line: int
    word: str
    better: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.word}: write {self.better}"


def by_word(table: dict[str, str]) -> dict[str, str]:
    return {word: better for words, better in table.items() for word in words.split()}


def words_of(text: str) -> list[str]:
    """Split text and identifiers into words: "EmulatedPeer.last_word" has emulated, peer, last and word."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text)]


def python_identifiers(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of all names, attributes, arguments, and strings that look like names (JSON keys)."""
    line = 1
    for node in ast.walk(ast.parse(text)):
        line = getattr(node, "lineno", line)
        for field, value in ast.iter_fields(node):
            named = field in {"id", "attr", "arg", "name", "asname", "module"}
            if isinstance(value, str) and (named or (field == "value" and re.fullmatch(r"[\w.-]+", value))):
                yield line, value


def c_identifiers(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of all that is neither comment nor string."""
    code = re.sub(
        r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL
    )
    for number, line in enumerate(code.splitlines(), 1):
        for name in re.findall(r"\w+", line):
            yield number, name


def other_identifiers(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of what looks like an identifier: a_b, aB, `a`, $a."""
    for number, line in enumerate(text.splitlines(), 1):
        for name in re.findall(r"\w*_\w*|\b[A-Za-z][a-z]+[A-Z]\w*|(?<=`)\w+(?=`)|(?<=\$)\w+|(?<=->)\w+", line):
            yield number, name


def hits_in(file: str, text: str, is_python: bool) -> Iterator[Hit]:
    anywhere, inside = by_word(ANYWHERE), by_word(ANYWHERE | IN_IDENTIFIERS)
    identifiers = (
        python_identifiers if is_python else c_identifiers if file.endswith((".c", ".h")) else other_identifiers
    )
    for line, name in [*identifiers(text), *((1, part) for part in Path(file).parts)]:
        if name in WHOLE_IDENTIFIERS:
            yield Hit(file, line, name, WHOLE_IDENTIFIERS[name])
        for word in words_of(re.sub(ALLOWED, "", name, flags=re.IGNORECASE)):
            if word in inside:
                yield Hit(file, line, word, inside[word])
    for number, content in enumerate(text.splitlines(), 1):
        for word in words_of(content):
            if word in anywhere:
                yield Hit(file, number, word, anywhere[word])
        for pattern, better in PHRASES.items():
            for found in re.finditer(pattern, content):
                yield Hit(file, number, found[0], better)


def is_legitimate(hit: Hit, use: Use) -> bool:
    return fnmatch(hit.file, use.files) and any(fnmatch(hit.word, word) for word in use.words.split())


@pytest.fixture(scope="module")
def hits() -> list[Hit]:
    paths: Iterable[Path] = (path for folder in READ for path in (ROOT / folder).rglob("*"))
    found: set[Hit] = set()
    for path in [*paths, *(ROOT / name for name in READ_FILES)]:
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".svg", ".png"}:
            text = path.read_text()
            is_python = path.suffix == ".py" or bool(re.match(r"#!.*python", text))
            found |= set(hits_in(str(path.relative_to(ROOT)), text, is_python))
    return sorted(found)


def test_no_replaced_word_is_left(hits: list[Hit]) -> None:
    """The message lists each use with its file and line, and what to write."""
    wrong = [hit for hit in hits if not any(is_legitimate(hit, use) for use in LEGITIMATE)]
    assert not wrong, f"{len(wrong)} uses:\n" + "\n".join(map(str, wrong))


def test_every_exception_is_used(hits: list[Hit]) -> None:
    """An exception whose use is gone is removed."""
    assert [use for use in LEGITIMATE if not any(is_legitimate(hit, use) for hit in hits)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class FreePlaces: pass", {"FreePlaces", "places"}),
        ("def settle_all(): return settings", {"settle"}),
        ("#: all that is settled", {"settled"}),
        ("keys = {'told': 1, 'retold tale': 2}", {"told"}),
        ("# the place in the table", {"place"}),
        ("# in place of a claim; takes place; replaced; 3 decimal places", set()),
        ("# a word is told, heard and looked at", set()),
        ("wake_event.look(amendment)", {"look"}),
    ],
)
def test_words_are_found_in_identifiers_and_prose(text: str, words: set[str]) -> None:
    """Identifiers are split into words; a word inside another is none."""
    assert {hit.word for hit in hits_in("a.py", text, is_python=True)} == words
