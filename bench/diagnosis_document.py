"""The tables of bench/diagnosis: printed, and written into sections of a Markdown file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.report import print_table


class Document:
    """Where tables go. A section of the file is all between `<!-- name -->` and `<!-- end of name -->`."""

    def __init__(self, path: Path | None) -> None:
        """Without a path, tables are only printed."""
        self._path = path

    def table(self, name: str, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table, and put it into its section. Raises ValueError when the file has no such section."""
        print(f"\n{title}", flush=True)
        print_table(header, rows)
        if self._path is not None:
            text = self._path.read_text(encoding="utf-8")
            self._path.write_text(replaced(text, name, f"{title}.\n\n{markdown(header, rows)}"), encoding="utf-8")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first two columns to the left, the others to the right."""
    marks = ["---" if column < 2 else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, marks, *rows))


def replaced(text: str, name: str, content: str) -> str:
    """Return `text` with new content in the section `name`. Raises ValueError when there is no such section."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no section {begin} in the file")
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text, count=1)
