"""GTD orders expire by the time of the log: at the start of an entry by (expiry, arrival), or where they are met."""

from orderbook.book import PlaceOrder, SelfTrade, Side
from orderbook.book.constants import EXPIRIES_PER_ENTRY
from unit.book.market import Market, order


def good_till(market: Market, id: int, quantity: int, at: int, expires: int, **terms: object) -> list[str]:
    return market.sell(id, quantity, at=at, tif="gtd", expires=expires, **terms)


def test_an_order_expires_when_the_log_reaches_its_time() -> None:
    market = Market()
    good_till(market, 1, 10, 300, expires=100)
    assert market.tick(99) == []
    assert market.tick(100) == ["expired 1 10"]
    assert market.asks == []


def test_due_orders_expire_by_expiry_then_arrival_before_the_first_command() -> None:
    market = Market()
    good_till(market, 1, 10, 300, expires=100)
    good_till(market, 2, 10, 301, expires=90)
    good_till(market, 3, 10, 302, expires=90)
    market.amend(2, price=303)
    market.context.now_ms = 100
    assert market.buy(4, 10, at=305) == ["expired 3 10", "expired 2 10", "expired 1 10", "accepted 4 rests 10"]


def test_expired_events_belong_to_no_command() -> None:
    market = Market()
    good_till(market, 1, 10, 300, expires=100)
    market.context.now_ms = 100
    body = market.machine.encode([PlaceOrder(order(2, Side.BID, 5, 300, "bob"))])
    assert [event[1] for event in market.entry(body, 1)] == [-1, 0]


def test_the_time_of_the_log_does_not_go_back() -> None:
    market = Market()
    market.tick(100)
    market.context.now_ms = 50
    assert good_till(market, 1, 10, 300, expires=100) == ["rejected 1 expiry_passed"]
    assert good_till(market, 1, 10, 300, expires=101) == ["accepted 1 rests 10"]


def test_the_next_deadline_is_that_of_the_first_live_order() -> None:
    market = Market()
    assert market.machine.next_deadline() is None
    good_till(market, 1, 10, 300, expires=100)
    good_till(market, 2, 10, 300, expires=200)
    assert market.machine.next_deadline() == 100
    market.cancel(1)
    assert market.machine.next_deadline() == 200
    market.buy(3, 10, at=300)
    assert market.machine.next_deadline() is None


def test_deadlines_of_orders_that_are_gone_do_not_pile_up() -> None:
    market = Market()
    good_till(market, 1, 10, 300, expires=1)
    for id in range(2, 402):
        good_till(market, id, 10, 300, expires=id)
        market.cancel(id)
    assert len(market.machine._book.expiries) < 200


def test_an_amended_order_keeps_its_expiry() -> None:
    market = Market()
    good_till(market, 1, 10, 300, expires=100)
    market.amend(1, price=299)
    assert market.tick(100) == ["expired 1 10"]


def overdue(*extra: tuple[int, int, int]) -> Market:
    """As many orders are due at 100 as one entry may expire, and after them ``extra``: (id, quantity, price)."""
    market = Market()
    good = [
        PlaceOrder(order(id, Side.ASK, 1, 9_999, "carol", tif="gtd", expires=99))
        for id in range(10_001, 10_001 + EXPIRIES_PER_ENTRY)
    ]
    market.do(*good)
    for id, quantity, price in extra:
        good_till(market, id, quantity, price, expires=100)
    market.context.now_ms = 100
    return market


def test_an_entry_expires_a_bounded_number_and_the_rest_is_due_at_once() -> None:
    market = overdue((1, 10, 300))
    assert len(market.tick(100)) == EXPIRIES_PER_ENTRY
    assert market.machine.next_deadline() == 100
    assert market.tick(100) == ["expired 1 10"]


def told(market: Market, command: PlaceOrder) -> list[str]:
    """What a command leads to, without what expired at the start of the entry."""
    lines = market.do(command)
    assert all(line.startswith("expired 1") and line.endswith(" 1") for line in lines[:EXPIRIES_PER_ENTRY])
    return lines[EXPIRIES_PER_ENTRY:]


def test_a_match_expires_the_due_orders_that_it_meets_before_its_own_event() -> None:
    market = overdue((1, 10, 300), (2, 10, 303))
    market.context.now_ms = 50
    market.sell(3, 10, at=301)
    market.context.now_ms = 100
    assert told(market, PlaceOrder(order(9, Side.BID, 5, 305, "bob"))) == [
        "expired 1 10",
        "accepted 9 rests 0",
        "fill 9x3 5@301",
    ]
    assert market.asks == [(301, 5, 1), (303, 10, 1)]


def test_a_fok_does_not_count_due_orders() -> None:
    market = overdue((1, 10, 300))
    command = PlaceOrder(order(9, Side.BID, 5, 305, "bob", tif="fok"))
    assert told(market, command) == ["expired 1 10", "rejected 9 would_not_fill"]


def test_post_only_does_not_cross_a_due_order() -> None:
    market = overdue((1, 10, 300))
    command = PlaceOrder(order(9, Side.BID, 5, 300, "bob", post_only=True))
    assert told(market, command) == ["expired 1 10", "accepted 9 rests 5"]


def test_a_due_order_is_not_met_behind_an_order_that_ends_the_match() -> None:
    market = overdue((1, 10, 301))
    market.context.now_ms = 50
    market.sell(3, 10, at=300, trader="bob")
    market.context.now_ms = 100
    command = PlaceOrder(order(9, Side.BID, 5, 305, "bob", self_trade=SelfTrade.CANCEL_NEWEST))
    assert told(market, command) == ["accepted 9 rests 0", "cancelled 9 5 self_trade_taker"]


def test_an_amend_of_a_due_order_finds_it_expired() -> None:
    market = overdue((1, 10, 300))
    lines = market.amend(1, quantity=5)
    assert lines[EXPIRIES_PER_ENTRY:] == ["expired 1 10", "rejected 1 unknown_order"]


def test_an_amend_that_crosses_expires_what_it_meets() -> None:
    market = overdue((1, 10, 300))
    market.context.now_ms = 50
    market.buy(2, 4, at=299)
    market.context.now_ms = 100
    lines = market.amend(2, price=300)
    assert lines[EXPIRIES_PER_ENTRY:] == ["expired 1 10", "amended 2 4@300 rests 4"]
