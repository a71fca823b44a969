"""The ``orderbook`` command. Each module beside this one is a command or a group of them.

Exit codes: 0 done, 1 it could not be done, 2 it was asked for wrongly (an option, a file that isn't what it should be).
"""

from __future__ import annotations

import typer

from orderbook.cli import bench, local, match, node, replay

app = typer.Typer(
    name="orderbook",
    help="A replicated limit order book: nodes, orders, market data and measurements.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(rich_help_panel="Run a group")(node.node)
app.command(rich_help_panel="Run a group")(local.local)
app.command(rich_help_panel="Without a group")(match.match)
app.command(rich_help_panel="Orders")(replay.replay)
app.command(rich_help_panel="Measure")(bench.bench)


@app.callback()
def root() -> None:
    """A replicated limit order book: nodes, orders, market data and measurements."""


def main() -> None:
    app()
