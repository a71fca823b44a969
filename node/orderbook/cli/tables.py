"""Tables on standard output: as wide as a terminal there, uncut where a program reads them."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.table import Table

_PIPE_WIDTH = 500


def plain_table(*columns: str) -> Table:
    """Without lines; a cell that is too wide continues below."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def show(what: RenderableType) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(what)
