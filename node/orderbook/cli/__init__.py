"""The ``orderbook`` command. Each module beside this one is a command or a group of them.

Exit codes: 0 done, 1 it could not be done or was refused, 2 it was asked for wrongly (an option, a file that isn't what
it should be), 3 unavailable: surely not done, 4 uncertain: it may have been done. ``node`` has its own.

Only the module of the command that is called is imported: nodes, and scripts that call many commands, start faster.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer

# panel of --help -> (module, names of its commands, each a function)
_PANELS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "Run a group": (("demo", ("demo",)), ("local", ("local",)), ("node", ("node",))),
    "Orders": (("orders", ("place", "cancel", "amend", "orders")), ("replay", ("replay",))),
    "Market data": (("market", ("book", "fills", "pairs")), ("watch", ("watch",))),
    "Administration": (("admin", ("status", "members", "halt", "resume", "transfer", "snapshot", "recover")),),
    "Without a group": (("match", ("match",)), ("tokens", ("token", "keys"))),
    "Prove": (("soak", ("soak",)),),
    "Measure": (("bench", ("bench",)),),
}
_OF_CLIENTS = ("Orders", "Market data", "Administration", "Prove")  # panels of commands that talk to nodes
_HELP = "A replicated limit order book: nodes, orders, market data and measurements."


def application(only: str | None = None) -> typer.Typer:
    """All commands, or the one called ``only`` if there is one of that name."""
    known = [(panel, module, name) for panel, rows in _PANELS.items() for module, names in rows for name in names]
    chosen = [row for row in known if row[2] == only] or known
    made = typer.Typer(
        name="orderbook",
        help=_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_root)
    for panel, module, name in chosen:
        command = getattr(import_module(f"orderbook.cli.{module}"), name)
        if panel in _OF_CLIENTS:
            command = import_module("orderbook.cli.connection").with_credentials(command)
        made.command(rich_help_panel=panel)(command)
    return made


def _root() -> None:
    pass


_root.__doc__ = _HELP


def main() -> None:
    application(sys.argv[1] if len(sys.argv) > 1 else None)()


def __getattr__(name: str) -> Any:
    """``app``: all commands, for whoever runs them in a process of its own."""
    if name == "app":
        return application()
    raise AttributeError(name)
