"""``orderbook match``: a file of commands through the matching engine alone, in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from orderbook.book import DefinePair, EventKind, OrderBook, Pairs, PairSpec, RejectReason, Role, TopOfBook
from orderbook.book.codec import encode_commands, pack
from orderbook.book.constants import MAX_INTEGER
from orderbook.book.events import Event
from orderbook.cli.command_file import Line, NotACommand
from orderbook.cli.command_source import STANDARD, FileFormat, commands_of, event_line, pairs_of, writer


class Context:
    """Where and when a line is applied: its own entry of a log that nobody keeps, as an admin."""

    machine_version = 1
    principal = "match"
    role = int(Role.ADMIN)
    session = 0

    def __init__(self) -> None:
        self.index = 0
        self.now_ms = 0


class Matcher:
    """An engine that is fed line by line. Without instruments a pair is defined when a line first names it."""

    def __init__(self, pairs: Iterable[PairSpec] | None) -> None:
        self.book = OrderBook()
        self.counts = dict.fromkeys(EventKind, 0)
        self.lines = 0
        self._context = Context()
        self._known: set[str] | None = None if pairs is not None else set()
        for pair in pairs or ():
            self._define(pair)

    def _define(self, pair: PairSpec) -> None:
        """Raises ValueError for a pair that can't be."""
        self._context.index = 0
        event = self.book.apply(self._context, encode_commands([DefinePair(pair)]), 1)[-1]
        if event[0] == EventKind.REJECTED:
            raise ValueError(f"{pair.pair}: {RejectReason(event[3]).name.lower()}")

    def feed(self, line: Line) -> list[Event]:
        """The events of a line; the first of them may be of orders that expired before it."""
        context = self._context
        if line.time_ms is not None:
            context.now_ms = line.time_ms
        if self._known is not None and line.pair is not None and line.pair not in self._known:
            self._known.add(line.pair)
            context.index = 0
            self.book.apply(context, encode_commands([DefinePair(PairSpec(line.pair))]), 1)
        context.index = line.number
        events = self.book.apply(context, pack([line.row]), 1)
        self.lines += 1
        for event in events:
            self.counts[event[0]] += 1
        return events


def match(
    file: Annotated[Path, typer.Argument(help="The commands; - is standard input.", allow_dash=True)],
    instruments: Annotated[Path | None, typer.Option(help="Tick and lot of each pair; others are refused.")] = None,
    events: Annotated[Path | None, typer.Option(help="Where to write a line an event.", allow_dash=True)] = None,
    book: Annotated[Path | None, typer.Option(help="Where to write the book at the end.", allow_dash=True)] = None,
    format: Annotated[FileFormat, typer.Option(help="What the file is.")] = FileFormat.JSONL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run a file of commands through the matching engine, without any group.

    Rejected commands are events and the run goes on; a line that is no command ends it with exit code 2.

    Example: orderbook match orders.jsonl --events fills.jsonl --book -
    """
    try:
        matcher = Matcher(pairs_of(file, instruments, format))
        with ExitStack() as opened:
            lines: Iterable[bytes] = sys.stdin.buffer if file == STANDARD else opened.enter_context(file.open("rb"))
            sink = None if events is None else writer(events, opened)
            for line in commands_of(lines, file, format):
                produced = matcher.feed(line)
                if sink is not None:
                    _write_events(sink, line.number, produced)
        if book is not None:
            with ExitStack() as opened:
                writer(book, opened).write(json.dumps(_final_book(matcher.book)) + "\n")
    except (NotACommand, ValueError, OSError) as error:
        typer.echo(f"{file}: {error}" if isinstance(error, NotACommand) else str(error), err=True)
        raise typer.Exit(2) from error
    _summarize(matcher, as_json, to_stderr=STANDARD in (events, book))


def _write_events(sink: IO[str], line: int, events: list[Event]) -> None:
    for ordinal, event in enumerate(events):
        sink.write(event_line(event, line, (line, ordinal)))


def _final_book(book: OrderBook) -> dict[str, dict[str, Any]]:
    final = {}
    for pair in book.query(Pairs()):
        view = book.query(TopOfBook(pair.pair, MAX_INTEGER))
        final[pair.pair] = {"bids": view.bids, "asks": view.asks}
    return final


def _summarize(matcher: Matcher, as_json: bool, *, to_stderr: bool) -> None:
    counts = {kind.name.lower(): count for kind, count in matcher.counts.items() if count}
    summary = {"lines": matcher.lines, "events": counts, "state_hash": f"{matcher.book.state_hash:016x}"}
    if as_json:
        typer.echo(json.dumps(summary), err=to_stderr)
        return
    told = ", ".join(f"{count} {name}" for name, count in counts.items()) or "no events"
    typer.echo(f"{matcher.lines} commands: {told}; state hash {summary['state_hash']}", err=to_stderr)
