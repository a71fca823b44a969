"""``orderbook replay``: a file of commands through a running group, in one session, exactly once each."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from orderbook.book import DefinePair
from orderbook.cli import connection, replay_progress
from orderbook.cli.command_file import NotACommand
from orderbook.cli.command_source import STANDARD, FileFormat, commands_of, pairs_of, writer
from orderbook.cli.replay_batches import Cut, cut_batches
from orderbook.cli.replay_progress import Progress as Recorded
from orderbook.cli.replay_progress import ProgressError
from orderbook.cli.replay_run import EventFile, Pace, PairDiffers, Replay
from orderbook.client.feed_socket import WebSocketFeedSource
from orderbook.client.feeds import Feed
from orderbook.client.order_stream import OrderStream
from orderbook.client.resumable_session import ResumableSession, SessionLost
from orderbook.groups.errors import GroupError, Unavailable
from orderbook.streams.audience import FeedKind
from orderbook.streams.market import BookDelta, BookSnapshot
from orderbook.wire.envelope import MAX_COMMANDS

EXIT_INTERRUPTED = 130
PACED_SLICE_SECONDS = 0.01  # of real time: what falls into one is sent together


class Options(NamedTuple):
    """What the user asked for."""

    file: Path
    instruments: Path | None
    events: Path | None
    book: Path | None
    format: FileFormat
    speed: float
    state: Path
    batch: int
    patience: float


def replay(
    file: Annotated[Path, typer.Argument(help="The commands.", exists=True, dir_okay=False)],
    group: Annotated[
        str, typer.Option("--group", envvar="ORDERBOOK_NODES", help="URLs of nodes, with commas between.")
    ] = connection.DEFAULT_NODES,
    instruments: Annotated[Path | None, typer.Option(help="Tick and lot of each pair; others are refused.")] = None,
    events: Annotated[Path | None, typer.Option(help="Where to write a line an event.", allow_dash=True)] = None,
    book: Annotated[Path | None, typer.Option(help="Where to write the book at the end.", allow_dash=True)] = None,
    speed: Annotated[float, typer.Option(help="1: in recorded time; 10: ten times as fast; 0: at once.", min=0)] = 0.0,
    format: Annotated[FileFormat, typer.Option(help="What the file is.")] = FileFormat.JSONL,
    state: Annotated[Path | None, typer.Option(help="Where to note how far it is (FILE.replay.json).")] = None,
    batch: Annotated[int, typer.Option(help="Commands in a batch.", min=1, max=MAX_COMMANDS)] = 500,
    patience: Annotated[float, typer.Option(help="Seconds to wait for an answer.", min=1)] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run a file of commands through a group; interrupted and run again it goes on where it stopped.

    Each command is executed once, whatever fails meanwhile. Rejected commands are events and the run goes on.

    Exit codes: 0 done, 1 refused, 2 a line that is no command, or another file than before, 3 the group does not
    answer, 4 the session ended while the replay was interrupted: what ran is not known, 130 interrupted. After 3 and
    130 the same command goes on.

    Example: orderbook replay orders.jsonl --group http://127.0.0.1:8443 --events events.jsonl --book book.json
    """
    path = state or file.with_name(file.name + ".replay.json")
    options = Options(file, instruments, events, book, format, speed, path, batch, patience)
    addresses = connection.addresses_of(group)
    try:
        done = asyncio.run(_interruptible(options, addresses))
    except (NotACommand, ProgressError, ValueError, OSError) as error:
        typer.echo(f"{file}: {error}" if isinstance(error, NotACommand) else str(error), err=True)
        raise typer.Exit(connection.EXIT_USAGE) from error
    except GroupError as error:
        _explain(error, path)
        raise typer.Exit(connection.exit_code_of(error)) from error
    if done is None:
        typer.echo(f"interrupted; the same command goes on from {path}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    _summarize(done, as_json, to_stderr=STANDARD in (events, book))


async def _interruptible(options: Options, addresses: list[str]) -> Recorded | None:
    """None when the user interrupted it."""
    task = asyncio.current_task()
    assert task is not None  # this is a coroutine of one
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await connection.connect(addresses, lambda call: _replay(options, call), patience=options.patience)
    except asyncio.CancelledError:
        return None


async def _replay(options: Options, call: connection.Call) -> Recorded:
    pairs = pairs_of(options.file, options.instruments, options.format)
    fixed = {
        "format": options.format.value,
        "pairs": None if pairs is None else [DefinePair(p).encoded() for p in pairs],
    }
    source, total = replay_progress.source_of(options.file, fixed)
    stream = OrderStream(call.runtime, call.http, call.api.addresses, call.credentials)
    session = ResumableSession(call.runtime, stream)
    stream.on_connected = session.reconnected
    try:
        progress = await _begin(options, call, source, session)
        with ExitStack() as opened:
            sink = EventFile(options.events, progress.events_bytes)
            opened.callback(sink.close)
            lines = opened.enter_context(options.file.open("rb"))
            advance = opened.enter_context(_Bar(total, progress.lines)).advance
            run = Replay(call.runtime, session, progress, options.state, sink, options.patience, advance)
            commands = commands_of(lines, options.file, options.format)
            cut = Cut(progress.commands, progress.slice_ms)
            await run.run(cut_batches(commands, pairs, cut), Pace(call.runtime, options.speed))
        if options.book is not None:
            await _write_book(options.book, call, progress.index)
        await session.close(end=True)
        options.state.unlink(missing_ok=True)
        return progress
    finally:
        await session.close(end=False)
        await stream.close()


async def _begin(options: Options, call: connection.Call, source: str, session: ResumableSession) -> Recorded:
    """Go on with the session of an interrupted replay, or open one. Raises ProgressError, SessionLost."""
    events = None if options.events is None else str(options.events)
    progress = replay_progress.load(options.state)
    incarnation = str((await call.api.group())["incarnation"])
    if progress is None:
        await session.open()
        slice_ms = max(1, round(PACED_SLICE_SECONDS * 1000 * options.speed)) if options.speed else 0
        progress = Recorded(source, incarnation, session.session, options.batch, slice_ms, events)
        replay_progress.save(options.state, progress)
        return progress
    if progress.source != source:
        raise ProgressError(
            f"{options.state} is of another file, format or instruments; finish that replay, or remove it to begin anew"
        )
    if progress.events != events:
        raise ProgressError(
            f"the interrupted replay wrote its events to {progress.events or 'no file'}: go on with the same --events"
        )
    if progress.incarnation != incarnation:
        raise SessionLost(f"this group is another, or began anew: its incarnation is {incarnation}")
    typer.echo(f"going on behind line {progress.line}", err=True)
    session.resume(progress.session, progress.recorded)
    return progress


class _Bar:
    """A progress bar on standard error, where that is a terminal."""

    def __init__(self, total: int, done: int) -> None:
        columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("replay", total=total, completed=done)

    def advance(self, lines: int) -> None:
        self._progress.advance(self._task, lines)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()


async def _write_book(path: Path, call: connection.Call, index: int) -> None:
    """The whole book of each pair, of one node that has applied ``index``."""
    until = call.runtime.monotonic() + call.api.patience
    while True:
        names = [pair["pair"] for pair in (await call.api.pairs(consistency="weak", min_index=index))["pairs"]]
        try:
            final = await asyncio.wait_for(_whole_book(call, names), 10.0)
            break
        except TimeoutError as error:  # that node went away
            if call.runtime.monotonic() > until:
                raise Unavailable("deadline") from error
    with ExitStack() as opened:
        writer(path, opened).write(json.dumps(final) + "\n")


async def _whole_book(call: connection.Call, names: list[str]) -> dict[str, dict[str, Any]]:
    source = WebSocketFeedSource(call.http, [call.api.address], call.credentials)
    feed: Feed[BookSnapshot | BookDelta] = Feed(call.runtime, source, FeedKind.BOOK)
    final: dict[str, dict[str, Any]] = {name: {} for name in names}
    try:
        while not all(final.values()):
            item = await anext(feed)
            if isinstance(item, BookSnapshot) and item.pair in final:
                final[item.pair] = {"bids": item.bids, "asks": item.asks}
    finally:
        await feed.close()
    return final


def _explain(error: GroupError, state: Path) -> None:
    typer.echo(f"replay: {error}", err=True)
    if isinstance(error, SessionLost):
        message = (
            f"what ran after the last line that {state} notes is not known, and is not sent again; "
            "look at the book, then remove that file to begin anew"
        )
        typer.echo(message, err=True)
    elif isinstance(error, Unavailable):
        typer.echo(f"the same command goes on from {state}", err=True)
    elif isinstance(error, PairDiffers):
        typer.echo("no order was sent", err=True)


def _summarize(done: Recorded, as_json: bool, *, to_stderr: bool) -> None:
    summary = {"lines": done.lines, "events": done.counts, "index": done.index}
    if as_json:
        typer.echo(json.dumps(summary), err=to_stderr)
        return
    told = ", ".join(f"{count} {name}" for name, count in done.counts.items()) or "no events"
    typer.echo(f"{done.lines} commands: {told}; log index {done.index}", err=to_stderr)
