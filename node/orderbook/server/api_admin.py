"""What an admin does over HTTP: pairs, limits, halts, settings. All of it goes through the log."""

from __future__ import annotations

from typing import Any

from orderbook.book import EventKind, Halt, HaltPair, Limits, Resume, ResumePair, view
from orderbook.groups.errors import Refused
from orderbook.groups.sessions import Outcome
from orderbook.groups.settings import encode_changes
from orderbook.server.api_calls import INDEX_HEADER, Answer, Call
from orderbook.server.api_errors import ApiError
from orderbook.server.api_fields import NoParameters
from orderbook.server.api_orders import executed
from orderbook.server.api_requests import (
    Configuration,
    ConfigurationReading,
    HaltOrders,
    NewPair,
    PairLimits,
    PairPath,
)
from orderbook.wire.envelope import EntryType


async def define_pair(call: Call[NoParameters, NoParameters, NewPair]) -> Answer:
    """201 if it is new; 200 if it was defined with the same tick and lot before: nothing changes then."""
    outcomes = await call.run_one(call.body.command())
    event = next(event for event, _ in outcomes.by_command[0] if event[0] == EventKind.PAIR_DEFINED)
    is_new = view(event)._asdict()["is_new"]
    return Answer(executed(outcomes), 201 if is_new else 200, outcomes.headers)


async def change_pair(call: Call[PairPath, NoParameters, PairLimits]) -> Answer:
    return await _run(call, call.body.command(call.path.pair))


async def halt_pair(call: Call[PairPath, NoParameters, HaltOrders]) -> Answer:
    return await _run(call, HaltPair(call.path.pair, call.body.cancel))


async def resume_pair(call: Call[PairPath, NoParameters, None]) -> Answer:
    return await _run(call, ResumePair(call.path.pair))


async def halt(call: Call[NoParameters, NoParameters, HaltOrders]) -> Answer:
    """The kill switch: no new orders and amends in any pair."""
    return await _run(call, Halt(call.body.cancel))


async def resume(call: Call[NoParameters, NoParameters, None]) -> Answer:
    return await _run(call, Resume())


async def get_configuration(call: Call[NoParameters, ConfigurationReading, None]) -> Answer:
    trader = call.query.trader
    if trader is not None:
        call.trader(trader)
    _, index = await call.ask(Limits(trader or ""), call.query)
    return _configuration(call, trader, index)


async def configure(call: Call[NoParameters, NoParameters, Configuration]) -> Answer:
    """Settings of the group, or limits of traders."""
    limits = call.body.limits
    if limits is not None:
        outcomes = await call.run_one(limits.command())
        return _configuration(call, limits.trader, outcomes.index)
    settings = call.body.settings
    assert settings is not None  # one of the two is given
    changes = encode_changes(settings.model_dump(exclude_none=True))
    try:
        applied = await call.submit(EntryType.CONFIGURE, changes, 0)
    except Refused as error:
        if error.outcome is not Outcome.MALFORMED:
            raise
        message = "min_session_timeout_ms is at most max_session_timeout_ms"
        raise ApiError(422, "refused", message, reason="contradicting_settings") from error
    return _configuration(call, None, applied.log_index)


async def _run(call: Call[Any, Any, Any], command: Any) -> Answer:
    outcomes = await call.run_one(command)
    return Answer(executed(outcomes), headers=outcomes.headers)


def _configuration(call: Call[Any, Any, Any], trader: str | None, index: int) -> Answer:
    """As this member has it now, at ``index`` or later."""
    replica = call.group.replica
    assert replica is not None  # it has just answered
    limits = replica.state.machine.query(Limits(trader or ""))._asdict()
    del limits["halted"]
    document = {"index": index, "settings": replica.state.settings._asdict(), "trader": trader, "limits": limits}
    return Answer(document, headers={INDEX_HEADER: str(index)})
