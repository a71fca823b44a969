"""Orders remember the session they were placed in; when it is closed, it may take them along."""

from orderbook.book import AmendOrder, Fills
from unit.book.market import Market, restored


def in_session(market: Market, session: int) -> Market:
    market.context.session = session
    return market


def test_a_closed_session_takes_its_orders_along_if_it_asked_for_that() -> None:
    market = Market()
    in_session(market, 7).buy(1, 10, at=300)
    in_session(market, 8).buy(2, 10, at=300)
    in_session(market, 0).buy(3, 10, at=300)
    in_session(market, 7).sell(4, 10, at=310, trader="carol")
    assert market.close_session(7, cancel=False) == []
    assert market.close_session(7, cancel=True) == ["cancelled 1 10 session_closed", "cancelled 4 10 session_closed"]
    assert market.close_session(7, cancel=True) == []
    assert market.bids == [(300, 20, 2)]


def test_an_amend_does_not_move_an_order_to_another_session() -> None:
    market = Market()
    in_session(market, 7).buy(1, 10, at=300)
    in_session(market, 8).do(AmendOrder(1, price=301))
    assert market.close_session(8, cancel=True) == []
    assert market.close_session(7, cancel=True) == ["cancelled 1 10 session_closed"]


def test_sessions_survive_a_snapshot() -> None:
    market = Market()
    in_session(market, 7).buy(1, 10, at=300)
    in_session(market, 7).buy(2, 10, at=301)
    market.machine = restored(market.machine)
    assert market.close_session(7, cancel=True) == ["cancelled 1 10 session_closed", "cancelled 2 10 session_closed"]


def test_events_of_one_entry_are_numbered_on_over_several_calls() -> None:
    market = Market()
    in_session(market, 7).buy(1, 10, at=300)
    in_session(market, 0).buy(2, 10, at=300)
    context = market.context
    context.index, context.session = context.index + 1, 7
    closing = market.machine.session_closed(context, True)
    context.session = 0
    market.ledger.follow(closing)
    context.index -= 1  # the next call belongs to the same entry
    market.sell(3, 5, at=300)
    [fill] = market.machine.query(Fills())
    assert fill.sequence == (context.index, 2), "after the cancel and the accepted event"
