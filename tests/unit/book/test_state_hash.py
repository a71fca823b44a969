"""Books that differ in anything that can make a difference to what comes have different hashes."""

from collections.abc import Callable

import pytest

from orderbook.book import ChangePair, Configure, DefinePair, Halt, HaltPair, PairSpec, SelfTrade
from orderbook.book.mixing import HASH_MASK, mix_fill, mix_integers, mix_order, mix_text
from unit.book.market import PAIR, Market

Change = Callable[[Market], object]


def two_bids(prices: tuple[int, int] = (300, 301), quantities: tuple[int, int] = (10, 20), **terms: object) -> Market:
    market = Market()
    market.context.session = int(str(terms.pop("session", 0)))
    for id, price, quantity in zip((1, 2), prices, quantities, strict=True):
        market.buy(id, quantity, at=price, **terms)  # type: ignore[arg-type]
    return market


def two_asks() -> Market:
    """As ``two_bids``, on the other side."""
    market = Market()
    market.sell(1, 10, at=300, trader="bob")
    market.sell(2, 20, at=301, trader="bob")
    return market


BOOKS: dict[str, Callable[[], Market]] = {
    "two bids": two_bids,
    "two asks": two_asks,
    "prices swapped": lambda: two_bids(prices=(301, 300)),
    "quantities swapped": lambda: two_bids(quantities=(20, 10)),
    "both swapped": lambda: two_bids(prices=(301, 300), quantities=(20, 10)),
    "another trader": lambda: two_bids(trader="carol"),
    "post only": lambda: two_bids(post_only=True),
    "another self-trade mode": lambda: two_bids(self_trade=SelfTrade.CANCEL_BOTH),
    "an expiry": lambda: two_bids(tif="gtd", expires=9),
    "another expiry": lambda: two_bids(tif="gtd", expires=10),
    "a session": lambda: two_bids(session=5),
}
CHANGES: dict[str, Change] = {
    "an order more": lambda market: market.buy(3, 10, at=300),
    "an order less": lambda market: market.cancel(1),
    "part of an order less": lambda market: market.cancel(1, 1),
    "a fill": lambda market: market.sell(3, 1, at=300),
    "an amend to the back": lambda market: market.amend(1, quantity=11),
    "an id": lambda market: market.buy(None, 1, at=1, tif="ioc"),
    "a pair more": lambda market: market.do(DefinePair(PairSpec("BTC/USD"))),
    "another limit of a pair": lambda market: market.do(ChangePair(PAIR, max_quantity=99)),
    "a halted pair": lambda market: market.do(HaltPair(PAIR)),
    "the kill switch": lambda market: market.do(Halt()),
    "open orders": lambda market: market.do(Configure(max_open_orders=9)),
    "rate": lambda market: market.do(Configure(rate_commands=9)),
    "window": lambda market: market.do(Configure(rate_window_ms=9)),
    "limits of a trader": lambda market: market.do(Configure(9, trader="bob")),
}


def test_equal_books_have_equal_hashes() -> None:
    assert two_bids().machine.state_hash == two_bids().machine.state_hash


def test_each_of_these_books_has_a_hash_of_its_own() -> None:
    hashes = {build().machine.state_hash: name for name, build in BOOKS.items()}
    assert sorted(hashes.values()) == sorted(BOOKS)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_changes_the_hash(name: str) -> None:
    market = two_bids()
    before = market.machine.state_hash
    CHANGES[name](market)
    assert market.machine.state_hash != before


def test_the_order_in_the_queue_is_in_the_hash() -> None:
    one, other = two_bids(prices=(300, 300), quantities=(10, 10)), two_bids(prices=(300, 300), quantities=(10, 10))
    one.amend(1, quantity=11)
    one.amend(1, quantity=10)
    other.amend(2, quantity=11)
    other.amend(2, quantity=10)
    assert one.bids == other.bids
    assert one.machine.state_hash != other.machine.state_hash


def test_a_rate_window_is_in_the_hash_while_it_counts() -> None:
    def market(orders: int) -> Market:
        market = Market()
        market.do(Configure(rate_commands=9, rate_window_ms=100))
        for _ in range(orders):
            market.buy(1, 1, at=300, tif="ioc")
        return market

    one, two = market(1), market(2)
    assert one.machine.state_hash != two.machine.state_hash
    one.tick(100)
    two.tick(100)
    assert one.machine.state_hash == two.machine.state_hash


def test_what_is_undone_leaves_no_trace_but_the_arrival_number() -> None:
    one, other = Market(), Market()
    one.buy(1, 10, at=300)
    one.cancel(1)
    other.sell(2, 99, at=400, trader="carol")
    other.cancel(2)
    assert one.machine.state_hash == other.machine.state_hash


def test_the_hash_is_a_number_of_62_bits_and_never_0() -> None:
    assert 0 < Market().machine.state_hash <= HASH_MASK


def test_the_mix_is_the_same_in_every_form_and_version() -> None:
    """Written down once: a change of these numbers is a new version of the machine."""
    assert mix_text("ETH/USDC", 1) == 4515226650212563738
    assert mix_order(1, 300, 10, 10, 1, 2**62 - 1, 0, mix_text("bob", 2)) == 4200548948568448938
    most = 2**53 - 1
    assert mix_order(most, most, most, most, 2**53, 2**62 - 1, 2**62, 2**62 - 1) == 940671235508036206
    assert mix_fill(2**62 - 1, most, most, most, most) == 4353345493303487150
    assert mix_integers([0, 1, 2**62 - 1]) == 3079158011408446492
