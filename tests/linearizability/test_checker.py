"""The checker tells good histories from bad ones: known ones, all small ones against brute force, and mutated ones."""

import itertools
from random import Random

import pytest

from linearizability.checker import NEVER, UNKNOWN, NotLinearizable, Operation, Undecided, by_part, linearize

PUT, GET = "put", "get"


class Register:
    """One register that begins as 0."""

    def start(self):
        return 0

    def step(self, state, call, answer):
        if call == GET:
            return state if answer in (UNKNOWN, state) else None
        return call[1] if answer in (UNKNOWN, "ok") else None

    def is_read(self, call):
        return call == GET


def put(client, value, invoked, returned):
    return Operation(client, (PUT, value), "ok", invoked, returned)


def lost_put(client, value, invoked):
    return Operation(client, (PUT, value), UNKNOWN, invoked, NEVER)


def get(client, value, invoked, returned):
    return Operation(client, GET, value, invoked, returned)


def explains(*history):
    try:
        return linearize(history, Register())
    except NotLinearizable:
        return None


# --- histories that are known -----------------------------------------------------------------------------------------


GOOD = {
    "nothing": [],
    "one after the other": [put("a", 1, 0, 1), get("b", 1, 2, 3)],
    "a read beside a write sees it": [put("a", 1, 0, 10), get("b", 1, 1, 2)],
    "a read beside a write does not see it": [put("a", 1, 0, 10), get("b", 0, 1, 2)],
    "two writes side by side, the later call first": [put("a", 1, 0, 5), put("b", 2, 1, 5), get("c", 1, 6, 7)],
    "a write without an answer that happened": [lost_put("a", 1, 0), get("b", 1, 1, 2)],
    "a write without an answer that did not": [lost_put("a", 1, 0), get("b", 0, 1, 2)],
    "a write without an answer that happens much later": [
        lost_put("a", 1, 0),
        put("b", 2, 1, 2),
        get("b", 2, 3, 4),
        get("b", 1, 5, 6),
    ],
    "the end of one and the beginning of another at one moment": [put("a", 1, 0, 1), get("b", 0, 1, 2)],
    "reads beside a write that turn once": [put("a", 1, 0, 9), get("b", 0, 1, 2), get("c", 1, 3, 4), get("b", 1, 5, 6)],
}
BAD = {
    "a value that nobody wrote": [get("a", 7, 0, 1)],
    "a stale read": [put("a", 1, 0, 1), get("b", 0, 2, 3)],
    "a lost write": [put("a", 1, 0, 1), put("a", 2, 2, 3), get("b", 1, 4, 5)],
    "a write that is seen before it begins": [get("b", 1, 0, 1), put("a", 1, 2, 3)],
    "reads that turn back": [put("a", 1, 0, 9), get("b", 1, 1, 2), get("c", 0, 3, 4)],
    "two readers that see two writes in two orders": [
        put("a", 1, 0, 1),
        put("b", 2, 0, 1),
        get("c", 1, 2, 3),
        get("d", 2, 2, 3),
        get("c", 2, 4, 5),
        get("d", 1, 4, 5),
    ],
    "a write without an answer that happens twice": [
        lost_put("a", 1, 0),
        get("b", 1, 1, 2),
        put("b", 2, 3, 4),
        get("b", 1, 5, 6),
    ],
    "a write without an answer that is seen before it begins": [get("b", 1, 0, 1), lost_put("a", 1, 2)],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_is_explained(name):
    order = explains(*GOOD[name])
    assert order is not None
    assert_explains(order, GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_refused(name):
    assert explains(*BAD[name]) is None


def assert_explains(order, history):
    """Every operation with an answer is in it once, each fits its place, and no clock contradicts it."""
    model, state = Register(), 0
    for place, operation in enumerate(order):
        state = model.step(state, operation.call, operation.answer)
        assert state is not None
        assert all(later.returned >= operation.invoked for later in order[place:])
    assert [operation for operation in history if operation.returned < NEVER and operation not in order] == []
    assert len(order) == len(set(map(id, order)))


def test_the_refusal_says_which_operation_fits_nowhere():
    with pytest.raises(NotLinearizable) as refusal:
        linearize(BAD["a lost write"], Register())
    assert refusal.value.stuck == get("b", 1, 4, 5)
    assert "b [4.000000, 5.000000] 'get' -> 1" in str(refusal.value)


def test_times_that_run_backwards_are_no_history():
    with pytest.raises(ValueError, match="before it is invoked"):
        linearize([put("a", 1, 5, 4)], Register())


def test_a_search_that_is_too_long_is_given_up_and_says_so():
    history = [put(f"c{number}", number, 0, 10) for number in range(12)] + [get("z", 99, 11, 12)]
    with pytest.raises(Undecided, match="after 500 configurations of 13 operations"):
        linearize(history, Register(), most=500)


def test_parts_are_judged_alone():
    history = [Operation("a", ("x", 1), "ok", 0, 1), Operation("a", ("y", 2), "ok", 2, 3)]
    assert by_part(history, lambda call: call[0]) == {"x": history[:1], "y": history[1:]}


# --- against brute force ----------------------------------------------------------------------------------------------


def explained_by_trying_all(history):
    """Every order of every choice of the operations without an answer."""
    model = Register()
    sure = [operation for operation in history if operation.returned < NEVER]
    lost = [operation for operation in history if operation.returned == NEVER]
    for count in range(len(lost) + 1):
        for chosen in itertools.combinations(lost, count):
            for order in itertools.permutations([*sure, *chosen]):
                if any(b.returned < a.invoked for a, b in itertools.combinations(order, 2)):
                    continue
                state = model.start()
                for operation in order:
                    state = model.step(state, operation.call, operation.answer)
                    if state is None:
                        break
                else:
                    return True
    return False


def any_history(random, size):
    history = []
    for _ in range(size):
        invoked = random.randrange(10)
        returned = invoked + random.randrange(1, 8)
        client, value = random.choice("abc"), random.randrange(3)
        kinds = [put(client, value, invoked, returned), get(client, value, invoked, returned)]
        history.append(random.choice([*kinds, *kinds, lost_put(client, value, invoked)]))
    return history


@pytest.mark.parametrize("seed", range(8))
def test_it_says_what_trying_all_orders_says(seed):
    random = Random(seed)
    good = 0
    for _ in range(150):
        history = any_history(random, random.randrange(1, 7))
        order = explains(*history)
        assert (order is not None) == explained_by_trying_all(history), history
        if order is not None:
            good += 1
            assert_explains(order, history)
    assert 20 < good < 130, "both kinds of histories were tried"


# --- real histories, and what becomes of them when one answer is changed ---------------------------------------------


class Counter:
    """Adds; each answers with the sum: every change of an answer is a lie."""

    def start(self):
        return 0

    def step(self, state, call, answer):
        return state + call if answer in (UNKNOWN, state + call) else None

    def is_read(self, call):
        return False


def real_history(random, size):
    """What clients of a counter see whose operations happen at one moment somewhere between call and return."""
    now, total = 0.0, 0
    moments = []
    for number in range(size):
        now += random.random()
        moments.append((now + random.random() * 3, number, now))
    history = []
    for moment, number, invoked in sorted(moments):
        total += number + 1
        lost = random.random() < 0.1
        returned = NEVER if lost else moment + random.random() * 3
        history.append(Operation(f"c{number % 5}", number + 1, UNKNOWN if lost else total, invoked, returned))
    return history


@pytest.mark.parametrize("seed", range(20))
def test_a_real_history_is_good_and_with_one_changed_answer_bad(seed):
    random = Random(seed)
    history = real_history(random, 80)
    assert len(linearize(history, Counter())) >= sum(operation.returned < NEVER for operation in history)
    place = random.choice([place for place, operation in enumerate(history) if operation.returned < NEVER])
    changed = list(history)
    changed[place] = history[place]._replace(answer=history[place].answer + random.choice((-1, 1)) * 10_000)
    with pytest.raises(NotLinearizable):
        linearize(changed, Counter())


@pytest.mark.parametrize("seed", range(10))
def test_a_real_history_with_one_operation_left_out_is_bad(seed):
    """As if a write had been done that nobody asked for, or an answer were of an operation that was lost."""
    random = Random(seed)
    history = real_history(random, 60)
    sure = [operation for operation in history if operation.returned < NEVER]
    gone = random.choice(sure[:-15])  # others see its sum
    with pytest.raises(NotLinearizable):
        linearize([operation for operation in history if operation is not gone], Counter())


def test_a_long_history_with_little_beside_each_other_is_quick():
    history = real_history(Random(1), 4000)
    order = linearize(history, Counter(), most=20_000)
    assert len(order) > 3500
