"""The pairs that the spec names, compared with those that the book has. Nothing is ever removed.

Defining a pair again changes nothing in the book, so a plan made twice does no harm. Tick, lot and the number of fills
kept never change; limits do, and a pair that somebody changed by hand is put back to its spec.
"""

from __future__ import annotations

from orderbook_operator.actions import ChangePair, DefinePair
from orderbook_operator.observation import Observation, PairSeen
from orderbook_operator.policy.decision import NOTHING, Plan, Reason, do, wait
from orderbook_operator.spec import Pair

LIMITS = ("max_quantity", "min_price", "max_price")


def plan(seen: Observation) -> Plan:
    if seen.group is None:
        return NOTHING
    known = {(pair.base, pair.quote): pair for pair in seen.group.pairs}
    result = NOTHING
    for pair in seen.resource.spec.pairs:
        result += _one(pair, known.get((pair.base, pair.quote)))
    return result


def wanted(pair: Pair) -> PairSeen:
    """The pair as the book is to have it: its limits by name, ``fills_kept`` among them."""
    limits = (("fills_kept", pair.fills_kept), *((name, getattr(pair.limits, name)) for name in LIMITS))
    return PairSeen(pair.base, pair.quote, str(pair.tick_size), str(pair.lot_size), limits)


def _one(pair: Pair, known: PairSeen | None) -> Plan:
    target = wanted(pair)
    if known is None:
        return do(DefinePair(target))
    if (known.tick, known.lot) != (target.tick, target.lot):
        sentence = f"{pair.name} has tick {known.tick} and lot {known.lot} for good, not {target.tick} and {target.lot}"
        return wait(Reason.PAIR_DIFFERS, sentence)
    limits = dict(known.limits)
    if any(limits.get(name) != getattr(pair.limits, name) for name in LIMITS):
        return do(ChangePair(target))
    return NOTHING
