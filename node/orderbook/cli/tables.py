"""What is shown on standard output. Tables are as wide as a terminal there, uncut where a program reads them.

Names come from whoever traded or joined: they may hold what a terminal takes as a command, or rich as markup. Whatever
is shown of them goes through ``printable`` and is never read as markup.
"""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 500


class PlainTable:
    """Without lines; a cell that is too wide continues below."""

    def __init__(self, *columns: str) -> None:
        self._table = Table(box=None, pad_edge=False)
        for column in columns:
            self._table.add_column(column, overflow="fold")

    def add_row(self, *cells: str | Text) -> None:
        """A ``Text`` has a style of its own."""
        self._table.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in cells))

    def __rich__(self) -> Table:
        return self._table


def printable(text: str) -> str:
    """``text`` with everything but printable characters escaped, as Python would."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def show(what: RenderableType) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(what)
