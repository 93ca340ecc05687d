"""Draw tables: with rich in a terminal, as plain aligned text in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, groupby
from typing import TYPE_CHECKING

from monlat_ebpf.cli.rendering import Cell, Layout, Table, Tone, narrowed

if TYPE_CHECKING:
    import rich.console
    import rich.table

_GUTTER = "  "
_WIDEST = 10_000  # columns: no table is wider
_STYLES = {Tone.PLAIN: "", Tone.FAINT: "dim", Tone.WARNING: "yellow", Tone.BAD: "bold red", Tone.BAR: ""}
_BAR_STYLES = ("black on yellow", "black on cyan", "black on magenta", "black on green", "black on white")
"""The styles of the letters of bars, in the order in which the letters first appear in a table."""


def show(table: Table) -> None:
    """Write `table` to standard output, which is a terminal or a pipe."""
    if sys.stdout.isatty():
        _show_in_terminal(table)
    else:
        sys.stdout.write(as_text(table))


def show_fitting(layouts: Sequence[Layout]) -> None:
    """Write the first of `layouts` that fits the terminal, or the last; in a pipe, the first."""
    if not sys.stdout.isatty():
        sys.stdout.write(layout_as_text(layouts[0]))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(layout_as_rich(first_fitting(layouts, console)))


def terminal_width() -> int | None:
    """Return the columns of the terminal that standard output is, None if it is none."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    return Console().width


def first_fitting(layouts: Sequence[Layout], console: rich.console.Console) -> Layout:
    """Return the first layout whose tables fit `console`, or the last."""
    for layout in layouts:
        tables = (as_rich(block) for block in layout if isinstance(block, Table))
        if all(_width_of(table, console) <= console.width for table in tables):
            break
    return layout


def layout_as_text(layout: Layout) -> str:
    """Return the blocks as lines of any width, without colours, a blank line between two blocks."""
    return "\n".join(
        as_text(block) if isinstance(block, Table) else "".join(f"{line.text}\n" for line in block.lines)
        for block in layout
    )


def layout_as_rich(layout: Layout) -> rich.console.RenderableType:
    """Return the blocks as one rich object, a blank line between two blocks."""
    from rich.console import Group
    from rich.text import Text

    drawn: list[rich.console.RenderableType] = []
    for block in layout:
        if drawn:
            drawn.append(Text())
        if isinstance(block, Table):
            drawn += [Text(block.title), as_rich(replace(block, title=""))]  # rich wraps a title at the table's width
        else:
            drawn += [Text(line.text, style=_STYLES[line.tone]) for line in block.lines]
    return Group(*drawn)


def _show_in_terminal(table: Table) -> None:
    """Write as many columns as fit. If even the fewest are too wide, the terminal wraps the lines; nothing is cut."""
    # Imported here: output to a pipe does not need rich.
    from rich.console import Console

    console = Console(highlight=False)
    drawn = as_rich(fitting(table, console))
    console.width = max(console.width, _width_of(drawn, console))
    console.print(drawn)


def fitting(table: Table, console: rich.console.Console) -> Table:
    """Return `table` with as many columns as fit `console`, or with the fewest if even those do not fit."""
    for candidate in narrowed(table):
        if _width_of(as_rich(candidate), console) <= console.width:
            break
    return candidate


def _width_of(drawn: rich.table.Table, console: rich.console.Console) -> int:
    unlimited = console.options.update(width=_WIDEST)
    return console.measure(drawn, options=unlimited).maximum


def as_text(table: Table) -> str:
    """Return title, head and rows as aligned lines of any width, without colours or frames."""
    lines = [tuple(column.head for column in table.columns), *(tuple(cell.text for cell in row) for row in table.rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.columns))]
    aligned = (
        _GUTTER.join(
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(line, widths, table.columns, strict=True)
        ).rstrip()
        for line in lines
    )
    return "\n".join((table.title, *aligned)) + "\n"


def as_rich(table: Table) -> rich.table.Table:
    """Return the table as a rich object, which can also be shown live."""
    import rich.box
    import rich.table
    from rich.text import Text

    drawn = rich.table.Table(
        title=Text(table.title) if table.title else None,
        title_justify="left",
        caption=Text(table.note) if table.note else None,
        caption_justify="left",
        box=rich.box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for column in table.columns:
        drawn.add_column(Text(column.head), justify="right" if column.right else "left", no_wrap=True)

    bars = "".join(cell.text for row in table.rows for cell in row if cell.tone is Tone.BAR)
    styles = dict(zip(dict.fromkeys(bars.replace(" ", "")), cycle(_BAR_STYLES), strict=False))

    def text_of(cell: Cell) -> Text:
        if cell.tone is Tone.BAR:
            runs = ("".join(run) for _, run in groupby(cell.text))
            return Text.assemble(*((run, styles.get(run[0], "")) for run in runs))
        return Text(cell.text, style=_STYLES[cell.tone])

    for row in table.rows:
        drawn.add_row(*map(text_of, row))
    return drawn
