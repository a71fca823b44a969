"""``orderbook bench``: measurements."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from orderbook.cli.engine_bench import MIX, measure


def bench(
    engine: Annotated[bool, typer.Option("--engine", help="The matching engine alone, on one core.")] = False,
    commands: Annotated[int, typer.Option(help="How many commands to run.", min=1000)] = 1_000_000,
    batch: Annotated[int, typer.Option(help="Commands in a log entry.", min=1, max=4096)] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure how fast this machine is.

    Example: orderbook bench --engine --json
    """
    if not engine:
        raise typer.BadParameter("say what to measure: --engine")
    typer.echo(f"mix: {MIX}", err=True)
    result = measure(commands, batch)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        for name, value in result.items():
            typer.echo(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
