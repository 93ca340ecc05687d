"""The text of `monlat doctor`: a line for each check, and for a problem why it matters and how to fix it. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from monlat_ebpf.cli.rendering import printable
from monlat_ebpf.doctor.check import Check, Status
from monlat_ebpf.doctor.checks import conclusion

_GUTTER: Final = "  "
_STATUS_WIDTH: Final = max(map(len, Status))
_NARROWEST: Final = 20


class Line(NamedTuple):
    """A line of output. `status` is the status that it begins with, if any."""

    text: str
    status: Status | None = None


def lines(checks: Sequence[Check], width: int | None) -> Iterator[Line]:
    """Yield the lines, wrapped to `width` columns; None: not wrapped."""
    names = max(len(check.name) for check in checks)
    indent = " " * (_STATUS_WIDTH + names + 2 * len(_GUTTER))
    for check in checks:
        head = f"{check.status:{_STATUS_WIDTH}}{_GUTTER}{check.name:{names}}{_GUTTER}"
        first, *rest = _wrapped(head + _one_line(check.found), indent, width)
        yield Line(first, check.status)
        yield from map(Line, rest)
        if check.status not in (Status.OK, Status.SKIP):
            yield from map(Line, _wrapped(f"{indent}why it matters: {check.why}", indent, width))
        if check.remedy:
            yield from map(Line, _wrapped(f"{indent}to fix it: {_one_line(check.remedy)}", indent, width))
    yield Line(conclusion(checks))


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _wrapped(text: str, indent: str, width: int | None) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(
        text,
        max(width, len(indent) + _NARROWEST),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
