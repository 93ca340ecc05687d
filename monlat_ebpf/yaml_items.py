"""Reads YAML, each value with its line: a list item by item, or a whole document. Pure, and safe with hostile text.

Items are built one at a time from the parser's events, so memory is needed for one item only, and depth and size are
limited. PyYAML's own composer builds the whole document, and in C it overruns its stack on 100,000 brackets. An alias,
which could expand a few lines to a million, is an error. Scalars stay as written: `name: 1e3` is the text 1e3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import yaml

from monlat_ebpf.errors import ConfigError

_DEEPEST: Final = 8
"""Levels of lists and mappings. The peers file has three."""

_MOST_VALUES: Final = 64
"""In one item, including keys and lists. An entry of the peers file has ten."""

_MOST_IN_DOCUMENT: Final = 4096
"""Values in a document that is read as a whole."""

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TOO_DEEP: Final = re.compile(rf"(?:[\[{{]\s*){{{_DEEPEST + 1}}}")
_TOO_DEEP_TEXT: Final = f"lists and mappings are nested more than {_DEEPEST} deep; an entry needs two levels"
_LOOKAHEAD: Final = 1024
"""Characters that the scanner reads before the event of a bracket, because the bracket might begin a mapping's key."""

_NOT_IN_YAML: Final = yaml.reader.Reader.NON_PRINTABLE

# libyaml is ten times faster. Every wheel and Debian's package contain it.
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text; None if it is null, as in `zone:`."""

    line: int
    text: str | None


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    line: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping as written: a key may occur twice."""

    line: int
    pairs: tuple[tuple[Node, Node], ...]


Node = Scalar | Items | Pairs


def kind_of(node: Node) -> str:
    """Describe `node`, for a message."""
    match node:
        case Scalar(text=None):
            return "nothing"
        case Scalar(text=text):
            return f"the text {text[:40]!r}" if text else "an empty text"
        case Items():
            return "a list"
        case Pairs():
            return "a mapping"


def read_items(text: str, *, file: str) -> Iterator[Node]:
    """Yield the items of the list in `text`. An empty text is an empty list.

    Raises ConfigError with `file` and line if the text is not YAML, not a list, or more than one document.
    """
    with _located(text, file):
        yield from _Reader(text, file).items()


def read_document(text: str, *, file: str) -> Node:
    """Return the one value that `text` is; null if it is empty. Raises ConfigError as `read_items` does."""
    with _located(text, file):
        return _Reader(text, file).document()


@contextmanager
def _located(text: str, file: str) -> Iterator[None]:
    """Turn PyYAML's errors into ConfigError with `file` and line."""
    if bad := _NOT_IN_YAML.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        raise ConfigError(f"{file}:{line}: the character U+{ord(bad.group()):04X} is not allowed in YAML; remove it")
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        # Newer versions of libyaml limit the depth themselves, while they look ahead.
        if mark and _TOO_DEEP.search(text, max(0, mark.index - _LOOKAHEAD), mark.index):
            raise ConfigError(f"{file}:{line}: {_TOO_DEEP_TEXT}") from error
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{file}:{line}: not valid YAML: {problem}; {_hint(text, line)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}:1: not valid YAML: {error}") from error


def _hint(text: str, line: int) -> str:
    """Return the most likely way to fix the syntax of `line`."""
    lines = text.split("\n")
    wrong = lines[line - 1] if line <= len(lines) else ""
    if "::" in wrong:
        return 'put an IPv6 address in quotes, as in "fd00::2"'
    if "\t" in wrong:
        return "indent with spaces, not with tabs"
    return "look for a missing quote, bracket, colon or space on this line or the one above"


class _Reader:
    """Builds items from the parser's events."""

    def __init__(self, text: str, file: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._file = file
        self._values = 0
        self._most = _MOST_VALUES, f"an entry has more than {_MOST_VALUES} values; begin each entry with `- `"

    def document(self) -> Node:
        self._most = _MOST_IN_DOCUMENT, f"the file has more than {_MOST_IN_DOCUMENT} values; shorten it"
        next(self._events)  # the stream begins
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return Scalar(1, None)
        found = self._node(next(self._events), depth=1)
        self._end("a second document begins; keep one, without `---` in the middle")
        return found

    def items(self) -> Iterator[Node]:
        next(self._events)  # the stream begins
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return
        first = next(self._events)
        if isinstance(first, yaml.SequenceStartEvent):
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                self._values = 0
                yield self._node(event, depth=2)
        else:
            found = self._node(first, depth=1)
            if not (isinstance(found, Scalar) and found.text is None):
                self._refuse(first, f"expected a list, found {kind_of(found)}; begin each entry with `- `")
        self._end("a second document begins; write one list, without `---` in the middle")

    def _end(self, otherwise: str) -> None:
        next(self._events)  # the document ends
        if not isinstance(event := next(self._events), yaml.StreamEndEvent):
            self._refuse(event, otherwise)

    def _node(self, event: Any, depth: int) -> Node:
        line = event.start_mark.line + 1
        self._values += 1
        most, too_many = self._most
        if self._values > most:
            self._refuse(event, too_many)
        if isinstance(event, yaml.ScalarEvent):
            is_null = event.style in (None, "") and event.value in _NULLS
            return Scalar(line, None if is_null else event.value)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, f"aliases such as *{str(event.anchor)[:40]} are not supported; write the value itself")
        if depth > _DEEPEST:
            self._refuse(event, _TOO_DEEP_TEXT)
        if isinstance(event, yaml.SequenceStartEvent):
            return Items(line, tuple(self._until(yaml.SequenceEndEvent, depth)))
        nodes = self._until(yaml.MappingEndEvent, depth)
        return Pairs(line, tuple(zip(nodes, nodes, strict=True)))

    def _until(self, end: type[Any], depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), end):
            yield self._node(event, depth + 1)

    def _refuse(self, event: Any, reason: str) -> NoReturn:
        raise ConfigError(f"{self._file}:{event.start_mark.line + 1}: {reason}")
