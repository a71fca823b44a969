"""A replica that was restored from a snapshot can't be told from one that applied every entry."""

import os
import subprocess
import sys

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook.book.commands import CancelOrder, DefinePair, Order, PairSpec, PlaceOrder, Side, TimeInForce
from orderbook.book.machine import OrderBook
from orderbook.groups.replicated import ReplicatedState
from orderbook.groups.sessions import Outcome
from orderbook.wire.envelope import EntryType, UnknownFormat
from orderbook.wire.roles import Role
from unit.groups.counter_machine import Counter
from unit.groups.log_writer import LogWriter


def restored(state, machine):
    copy = ReplicatedState(machine)
    for _ in copy.restore(list(state.snapshot())):
        pass
    assert (copy.index, copy.term, copy.now_ms) == (state.index, state.term, state.now_ms)
    assert copy.state_hash == state.state_hash
    return copy


def test_a_snapshot_of_nothing_is_nothing():
    restored(ReplicatedState(Counter()), Counter())


def test_a_restored_replica_answers_repeats_and_refuses_other_bytes():
    state = ReplicatedState(Counter())
    log = LogWriter(state)
    session = log.open()
    ran = log.batch(session, 1, 5, 6)
    keyed = log.keyed("k", 1)
    log.states.append(restored(state, Counter()))
    assert log.batch(session, 1, 5, 6).answer_index == ran.log_index
    assert log.batch(session, 1, 5, 7).outcome is Outcome.REPEAT_DIFFERS
    assert log.keyed("k", 1).answer_index == keyed.log_index
    assert log.keyed("k", 2).outcome is Outcome.KEY_REUSED


def test_a_replica_restored_twice_over_is_still_the_same():
    state = ReplicatedState(Counter())
    log = LogWriter(state)
    session = log.open()
    ran = log.batch(session, 1, 5)
    log.states.append(restored(restored(state, Counter()), Counter()))
    assert log.batch(session, 1, 5).answer_index == ran.log_index


def test_chunks_stay_small_however_much_is_kept():
    state = ReplicatedState(Counter())
    log = LogWriter(state)
    log.configure(max_sessions_of_one=3_000)
    session = log.open()
    for number in range(300):
        log.batch(session, 1 + number * 20, *range(20))
        log.keyed(f"key {number}", *range(20))
    for _ in range(2_000):
        log.open()
    chunks = [chunk for chunk in state.snapshot() if chunk[:1] != b"m"]
    assert len(chunks) > 10
    assert max(len(chunk) for chunk in chunks) <= 1 << 16
    log.states.append(restored(state, Counter()))
    log.batch(session, 1, *range(20))


def test_bounds_count_the_same_after_a_restore():
    state = ReplicatedState(Counter())
    log = LogWriter(state)
    log.configure(max_kept_bytes=1 << 16, max_key_bytes=1 << 16)
    session = log.open()
    log.write(EntryType.COMMANDS, b"x" * 60_000, session, 1, 1)
    log.write(EntryType.KEYED_COMMANDS, msgpack.packb(["old", b"digest", b"x" * 60_000]), commands=1)
    log.states.append(restored(state, Counter()))
    log.write(EntryType.COMMANDS, b"y" * 6_000, session, 2, 1)
    assert log.write(EntryType.COMMANDS, b"x" * 60_000, session, 1, 1).outcome is Outcome.RESULT_DROPPED
    log.write(EntryType.KEYED_COMMANDS, msgpack.packb(["new", b"digest", b"y" * 6_000]), commands=1)
    assert [len(state.keys) for state in log.states] == [1, 1]


def test_a_snapshot_of_another_machine_is_refused():
    class Other(Counter):
        signature = "other"

    with pytest.raises(ValueError, match="a snapshot of machine 'counter'; this group runs 'other'"):
        restored(ReplicatedState(Counter()), Other())


def test_a_snapshot_of_newer_rules_stops_a_node_that_does_not_know_them():
    state = ReplicatedState(Counter(version=2))
    LogWriter(state).by_admin(EntryType.SET_MACHINE_VERSION, 2)
    with pytest.raises(UnknownFormat, match="machine version 2; this node knows up to 1"):
        restored(state, Counter(version=1))


def test_a_snapshot_of_another_format_is_told_from_damage():
    chunks = list(ReplicatedState(Counter()).snapshot())
    front = msgpack.unpackb(chunks[0][1:])
    newer = b"g" + msgpack.packb([99, *front[1:]])
    with pytest.raises(UnknownFormat, match="snapshot format 99"):
        list(ReplicatedState(Counter()).restore([newer]))
    for damaged in ([], [b""], [b"m"], chunks[1:]):
        with pytest.raises(ValueError, match="begins with the group's part"):
            list(ReplicatedState(Counter()).restore(damaged))


# --- any history ------------------------------------------------------------------------------------------------------


@st.composite
def steps(draw):
    """One entry as a function of the log; sessions and numbers are drawn so that all outcomes come up."""
    kind = draw(
        st.sampled_from(
            [
                *("open", "batch", "batch", "batch", "repeat", "gap", "plain", "keyed", "close", "alive", "tick"),
                *("check", "configure", "version", "junk", "term", "back", "long"),
            ]
        )
    )
    which = draw(st.integers(0, 3))
    amount = draw(st.integers(0, 3))
    elapsed = draw(st.integers(0, 700))
    return kind, which, amount, elapsed


def take(step, log, sessions):
    kind, which, amount, elapsed = step
    log.clock_ms += elapsed
    log.principal = ("alice", "bob")[which % 2]
    session = sessions[which % len(sessions)] if sessions else 0
    known = log.states[0].sessions.by_id.get(session)
    last = known.last if known else 0
    acked = max(0, last - amount) if amount else 0
    if kind == "open":
        opened = log.write(EntryType.OPEN_SESSION, msgpack.packb([1_000 + 500 * which, amount == 1]))
        sessions.append(opened.log_index)
    elif kind == "batch":
        log.batch(session, last + 1, *([amount] * (which + 1)), acked=acked)
    elif kind == "repeat" and known and known.kept:
        kept = known.kept[min(which, len(known.kept) - 1)]
        log.write(EntryType.COMMANDS, b"" if kept.is_digest else kept.body, session, kept.first, kept.commands)
    elif kind == "gap":
        log.batch(session, last + 2 + amount, amount)
    elif kind == "plain":
        log.plain(["add", amount], ["alarm", 100 * which])
    elif kind == "keyed":
        log.keyed(f"key {which}", amount)
    elif kind == "close":
        log.close(session)
    elif kind == "alive":
        log.keep_alive(session, acked=acked)
    elif kind == "check":
        log.write(EntryType.CHECK)
    elif kind == "configure":
        log.configure(max_kept_results=1 + amount, max_keys=1 + which, key_lifetime_ms=1_000 + 500 * amount)
    elif kind == "version":
        log.by_admin(EntryType.SET_MACHINE_VERSION, 2)
    elif kind == "junk":
        log.write(list(EntryType)[which], bytes([amount]) * which, session, amount, which)
    else:
        log.term += kind == "term"
        log.tick(after_ms={"back": -900, "long": 5_000}.get(kind, 0))


@settings(max_examples=150, deadline=None)
@given(before=st.lists(steps(), max_size=30), after=st.lists(steps(), max_size=30))
def test_no_history_tells_a_restored_replica_from_one_that_was_not(before, after):
    state = ReplicatedState(Counter())
    log, sessions = LogWriter(state), []
    for step in before:
        take(step, log, sessions)
    log.states.append(restored(state, Counter()))
    for step in after:
        take(step, log, sessions)
        assert log.states[0].state_hash == log.states[1].state_hash
        assert log.states[0].next_deadline() == log.states[1].next_deadline()
    assert list(log.states[0].snapshot()) == list(log.states[1].snapshot())


@settings(max_examples=60, deadline=None)
@given(history=st.lists(steps(), max_size=40))
def test_a_replay_of_the_log_gives_the_same_state(history):
    state = ReplicatedState(Counter())
    log, sessions = LogWriter(state), []
    for step in history:
        take(step, log, sessions)
    replayed = ReplicatedState(Counter())
    for entry in log.entries:
        replayed.apply(*entry)
    assert list(replayed.snapshot()) == list(state.snapshot())
    assert replayed.checks == state.checks


# --- the order book ---------------------------------------------------------------------------------------------------


def trade(log, sessions, rounds):
    """A few traders at work in sessions, some of which expire."""
    book = OrderBook()
    log.role = Role.ADMIN
    log.write(EntryType.PLAIN_COMMANDS, book.encode([DefinePair(PairSpec("ETH/USDC"))]), commands=1)
    log.role = Role.TRADER
    for number in rounds:
        log.principal = f"trader {number % 3}"
        log.clock_ms += 300
        session = sessions.get(log.principal, 0)
        known = log.states[0].sessions.by_id.get(session)
        if known is None:
            sessions[log.principal] = log.open(timeout_ms=1_000 + 700 * (number % 2), cancel=number % 2 == 0)
            continue
        side = Side.BID if number % 4 < 2 else Side.ASK
        terms = {"time_in_force": TimeInForce.GTD, "expires": log.clock_ms + 1_000} if number % 5 == 0 else {}
        order = Order(number + 1, "ETH/USDC", side, 100 + number % 5, 1 + number % 7, **terms)
        commands = [PlaceOrder(order), CancelOrder(max(1, number - 8))]
        log.write(EntryType.COMMANDS, book.encode(commands), session, known.last + 1, 2, acked=max(0, known.last - 4))


def test_a_restored_book_trades_on_like_one_that_was_not():
    state = ReplicatedState(OrderBook())
    log, sessions = LogWriter(state), {}
    trade(log, sessions, range(60))
    log.states.append(restored(state, OrderBook()))
    trade(log, sessions, range(60, 140))
    assert log.states[0].state_hash == log.states[1].state_hash
    assert list(log.states[0].snapshot()) == list(log.states[1].snapshot())


# --- hash seeds -------------------------------------------------------------------------------------------------------


def print_hashes():
    """Two histories and the hashes after them; run under several PYTHONHASHSEEDs."""
    state = ReplicatedState(Counter())
    log, sessions = LogWriter(state), []
    kinds = ["open", "open", "batch", "batch", "keyed", "plain", "configure", "gap", "keyed", "long", "open", "batch"]
    for number, kind in enumerate(kinds):
        take((kind, number % 4, number % 3, 100), log, sessions)
    book = ReplicatedState(OrderBook())
    trade(LogWriter(book), {}, range(50))
    print(state.state_hash, hash_of(state), book.state_hash, hash_of(book))


def hash_of(state):
    return b"".join(state.snapshot()).hex()


def test_the_hash_and_the_snapshot_do_not_depend_on_the_hash_seed():
    program = "from unit.groups.test_replicated_snapshot import print_hashes; print_hashes()"
    outputs = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        outputs.append(run.stdout)
    assert outputs[0] == outputs[1]
    assert len(outputs[0].split()) == 4
