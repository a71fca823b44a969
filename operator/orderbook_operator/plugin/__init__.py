"""``kubectl orderbook``: a group of a cluster at one's fingertips. Each module beside this one is a command, or what
several need.

    options         what users may say on each command line
    kubernetes      the API server, as whom kubectl would be; errors become exit codes
    entrance        how to get into a group: its nodes, whom to trust, a token
    port_forward    kubectl's port-forwards, kept up
    relayed         commands of ``orderbook`` that reach a group through an entrance
    rates, redaction, story   pure: what top, diagnose and status show

Exit codes are those of ``orderbook``: 0 done, 1 it could not be done or was refused, 2 it was asked for wrongly,
3 unavailable: surely not done, 4 uncertain: it may have been done.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from typing import Any

import typer

# panel of --help -> (module, names of its commands, each a function)
_PANELS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "The group": (("status", ("status",)), ("top", ("top",)), ("diagnose", ("diagnose",)), ("trial", ("trial",))),
    "Orders": (("relayed", ("place", "cancel", "amend", "orders")),),
    "Market data": (("relayed", ("book", "fills", "watch")),),
    "Administration": (("relayed", ("transfer-leader", "snapshot", "halt", "resume")),),
    "Access": (("token", ("token",)), ("connect", ("connect",))),
}
_HELP = "Look at a replicated limit order book in a cluster, trade on it, and take care of it."


def application(only: str | None = None) -> typer.Typer:
    """All commands, or the one called ``only`` if there is one of that name."""
    known = [(panel, module, name) for panel, rows in _PANELS.items() for module, names in rows for name in names]
    chosen = [row for row in known if row[2] == only] or known
    made = typer.Typer(
        name="kubectl orderbook",
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,  # it would be for a command of this name, and there is none
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_root)
    for panel, module, name in chosen:
        command = getattr(import_module(f"orderbook_operator.plugin.{module}"), name.replace("-", "_"))
        made.command(name, rich_help_panel=panel)(command)
    return made


def _root() -> None:
    pass


_root.__doc__ = _HELP


def main() -> None:
    try:
        app = application(sys.argv[1] if len(sys.argv) > 1 else None)
    except ModuleNotFoundError as error:
        typer.echo(f"kubectl orderbook needs {error.name}: install orderbook-group[operator]", err=True)
        raise SystemExit(1) from error
    for number in (signal.SIGTERM, signal.SIGHUP):  # whatever runs for us ends with us
        signal.signal(number, _end)
    app(prog_name="kubectl orderbook")


def _end(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)
