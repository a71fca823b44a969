"""Print one line, the fingerprint of long runs: run with other hash seeds and in the other form, it must be the same.

python [-X orderbook_interpreted] transcript.py FLOW...
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random

from orderbook.book import FORM, DefinePair, OrderBook, PairSpec, encode_commands
from orderbook.book.codec import pack
from orderbook.cli.command_file import read_json_lines
from orderbook.cli.match import Matcher
from property.book.flows import random_row
from unit.book.market import PAIR, Context


def random_run(seed: int, note: Callable[[bytes], None]) -> int:
    random = Random(seed)
    machine, context = OrderBook(), Context()
    machine.apply(
        context, encode_commands([DefinePair(PairSpec(PAIR, fills_kept=50)), DefinePair(PairSpec("BTC/USDC"))]), 2
    )
    for _ in range(400):
        context.index += 1
        context.now_ms += random.randint(0, 40)
        context.session = random.choice([0, 0, 5, 6])
        context.role = random.choice([3, 3, 3, 2])
        context.principal = random.choice(["root", "bob"])
        rows = [random_row(random) for _ in range(random.randint(1, 40))]
        body = pack(rows) if random.random() < 0.98 else pack(rows)[:-1]
        events = machine.apply(context, body, len(rows))
        if random.random() < 0.02:
            events += machine.session_closed(context, True)
        if random.random() < 0.05:
            chunks = list(machine.snapshot())
            note(b"".join(chunks))
            machine = OrderBook()
            for _ in machine.restore(chunks):
                pass
        note(repr((events, machine.state_hash, machine.next_deadline())).encode())
    return machine.state_hash


def recorded_run(path: Path, note: Callable[[bytes], None]) -> int:
    matcher = Matcher(None)
    with path.open("rb") as lines:
        for line in read_json_lines(lines):
            note(repr(matcher.feed(line)).encode())
    return matcher.book.state_hash


def main(flows: list[str]) -> None:
    fingerprint = sha256()
    hashes = [random_run(seed, fingerprint.update) for seed in range(3)]
    hashes += [recorded_run(Path(flow), fingerprint.update) for flow in flows]
    print(FORM, fingerprint.hexdigest(), *hashes)


if __name__ == "__main__":
    main(sys.argv[1:])
