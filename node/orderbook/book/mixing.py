"""The state hash: a sum of one number for each thing in the book, so that a change costs what changed.

Each thing's fields are taken into two prime fields of 31 bits (together they tell any two integers below 2^61 apart),
combined linearly there and then squared twice with a constant between. Without the squares a sum could not tell
two orders from the same two with their prices swapped. All intermediate values fit 63 bits: the compiled form computes
with machine integers, the interpreted one with Python's, and both give the same number under any PYTHONHASHSEED.

It finds divergence by bugs and bad memory. It is no defence against somebody who constructs a collision.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

HASH_MASK: Final = 4611686018427387903  # 2^62 - 1
_P: Final = 2147483647  # 2^31 - 1
_Q: Final = 2147483629  # 2^31 - 19


def finish(p: i64, q: i64) -> i64:
    """One number, 0 .. 2^62 - 1, from the two fields."""
    p = (p * p + 1181783497) % _P
    p = (p * p + 922337203) % _P
    q = (q * q + 2012345689) % _Q
    q = (q * q + 741103597) % _Q
    return (p << 31) | q


def mix_order(
    number: i64, price: i64, open: i64, total: i64, arrival: i64, expiry: i64, session: i64, rest: i64
) -> i64:
    """The hash of a resting order. ``rest`` is what never changes (pair, trader, side, terms), hashed before.

    Factors are below 2^28 and residues below 2^31, so that the sum of seven products is below 2^62.
    """
    p = (
        number % _P * 268435399
        + price % _P * 179424673
        + open % _P * 86028121
        + total % _P * 217645177
        + arrival % _P * 141650939
        + expiry % _P * 256203161
        + session % _P * 49979687
        + (rest >> 31)
    ) % _P
    q = (
        number % _Q * 198491317
        + price % _Q * 236887691
        + open % _Q * 122949823
        + total % _Q * 67867967
        + arrival % _Q * 32452843
        + expiry % _Q * 160481183
        + session % _Q * 104395301
        + (rest & _P)
    ) % _Q
    return finish(p, q)


def mix_fill(chain: i64, bid: i64, ask: i64, price: i64, quantity: i64) -> i64:
    """The hash of a run of fills with one more at its end."""
    p = (
        (chain >> 31) * 268435399
        + bid % _P * 179424673
        + ask % _P * 86028121
        + price % _P * 217645177
        + quantity % _P * 141650939
        + 1
    ) % _P
    q = (
        (chain & _P) * 198491317
        + bid % _Q * 236887691
        + ask % _Q * 122949823
        + price % _Q * 67867967
        + quantity % _Q * 32452843
        + 1
    ) % _Q
    return finish(p, q)


def mix_integers(values: list[int]) -> i64:
    """The hash of a short row of integers, each 0 .. 2^62 - 1."""
    p: i64 = 1
    q: i64 = 1
    for value in values:
        number: i64 = value
        p = (p * 268435399 + number % _P + 1) % _P
        q = (q * 198491317 + number % _Q + 1) % _Q
    return finish(p, q)


def mix_text(text: str, seed: int) -> i64:
    """The hash of a name; ``seed`` keeps a pair and a trader of the same name apart."""
    return mix_integers([seed, *text.encode("utf-8", "surrogatepass")])
