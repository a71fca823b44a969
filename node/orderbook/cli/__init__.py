"""The ``orderbook`` command. Each module beside this one is a command or a group of them.

Exit codes: 0 done, 1 it could not be done or was refused, 2 it was asked for wrongly (an option, a file that isn't what
it should be), 3 unavailable: surely not done, 4 uncertain: it may have been done. ``node`` has its own.
"""

from __future__ import annotations

import typer

from orderbook.cli import admin, bench, demo, local, market, match, node, orders, replay, watch

app = typer.Typer(
    name="orderbook",
    help="A replicated limit order book: nodes, orders, market data and measurements.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_PANELS = {
    "Run a group": (demo.demo, local.local, node.node),
    "Orders": (orders.place, orders.cancel, orders.amend, orders.orders, replay.replay),
    "Market data": (market.book, market.fills, market.pairs, watch.watch),
    "Administration": (admin.status, admin.members, admin.halt, admin.resume, admin.transfer, admin.snapshot),
    "Without a group": (match.match,),
    "Measure": (bench.bench,),
}
for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


@app.callback()
def root() -> None:
    """A replicated limit order book: nodes, orders, market data and measurements."""


def main() -> None:
    app()
