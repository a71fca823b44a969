"""Who may do what: a trader for itself, an admin for any, an observer nothing."""

import pytest

from orderbook.book import (
    AmendOrder,
    CancelAll,
    CancelOrder,
    ChangePair,
    Command,
    Configure,
    DefinePair,
    Halt,
    HaltPair,
    Order,
    PairSpec,
    PlaceOrder,
    Resume,
    ResumePair,
    Role,
    Side,
)
from orderbook.wire.roles import Role as WireRole
from unit.book.market import PAIR, Market

TRADING: list[Command] = [
    PlaceOrder(Order(5, PAIR, Side.BID, 300, 1)),
    CancelOrder(1),
    AmendOrder(1, quantity=5),
    CancelAll(),
]
ADMINISTRATION: list[Command] = [
    DefinePair(PairSpec("BTC/USD")),
    ChangePair(PAIR, 5),
    HaltPair(PAIR),
    ResumePair(PAIR),
    Configure(5),
    Halt(),
    Resume(),
]


def test_roles_are_those_of_the_envelope() -> None:
    assert {role.name: int(role) for role in Role} == {role.name: int(role) for role in WireRole}


@pytest.mark.parametrize("command", ADMINISTRATION)
def test_administration_is_for_admins(command: Command) -> None:
    market = Market()
    before = market.machine.state_hash
    assert market.as_trader("bob").do(command) == ["rejected 0 not_permitted"]
    assert market.as_observer("eve").do(command) == ["rejected 0 not_permitted"]
    assert market.machine.state_hash == before


@pytest.mark.parametrize("command", TRADING)
@pytest.mark.parametrize("role", [0, Role.OBSERVER, 4, 255])
def test_nobody_else_trades(command: Command, role: int) -> None:
    market = Market()
    market.buy(1, 10, at=300)
    market.context.role = role
    [line] = market.do(command)
    assert line.endswith("not_permitted")


def test_a_trader_that_names_nobody_acts_for_itself() -> None:
    market = Market().as_trader("bob")
    market.buy(1, 10, at=300, trader="")
    assert market.amend(1, quantity=9) == ["amended 1 9@300 rests 9, keeps its place"]
    assert market.cancel(1, 1) == ["cancelled 1 1 requested leaves 8"]
    assert market.do(CancelAll()) == ["cancelled 1 8 requested", "cancelled_all bob 1"]


def test_a_trader_may_name_itself_and_nobody_else() -> None:
    market = Market().as_trader("bob")
    assert market.buy(1, 10, at=300, trader="bob") == ["accepted 1 rests 10"]
    assert market.buy(2, 10, at=300, trader="alice") == ["rejected 2 not_owner"]
    assert market.cancel(1, trader="alice") == ["rejected 1 not_owner"]
    assert market.do(CancelAll("alice")) == ["rejected 0 not_owner"]


def test_a_trader_does_not_touch_anothers_order() -> None:
    market = Market()
    market.buy(1, 10, at=300, trader="alice")
    market.as_trader("bob")
    assert market.cancel(1) == ["rejected 1 not_owner"]
    assert market.amend(1, quantity=1) == ["rejected 1 not_owner"]
    assert market.do(CancelAll()) == ["cancelled_all bob 0"]


def test_an_admin_that_names_nobody_acts_for_the_owner() -> None:
    market = Market()
    market.buy(1, 10, at=300, trader="alice")
    assert market.amend(1, quantity=9) == ["amended 1 9@300 rests 9, keeps its place"]
    assert market.cancel(1, trader="bob") == ["rejected 1 not_owner"]
    assert market.cancel(1, trader="alice") == ["cancelled 1 9 requested"]


def test_an_admin_that_places_for_nobody_places_for_itself() -> None:
    market = Market()
    market.buy(1, 10, at=300, trader="")
    assert market.do(CancelAll()) == ["cancelled 1 10 requested", "cancelled_all root 1"]


def test_a_principal_without_a_name_places_nothing() -> None:
    market = Market().as_trader("")
    assert market.buy(1, 10, at=300, trader="") == ["rejected 1 invalid_trader"]
