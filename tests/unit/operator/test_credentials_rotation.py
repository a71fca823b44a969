"""From any state of a rotation, whoever loads and answers when: no node shows what another doesn't trust."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orderbook_operator import credentials, names
from orderbook_operator.credentials import read, read_authority
from unit.operator.secret_store import AUTHORITY, CREDENTIALS, DAY, SecretStore

NODES = ("eth-0", "eth-1", "eth-2")
AUDIENCE = names.audience("eth", "trading")
SOME = st.sets(st.sampled_from(NODES))


STEPS = st.lists(st.tuples(SOME, st.integers(0, 2), SOME), max_size=12)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, lost=st.booleans())
def test_no_order_of_passes_and_loads_breaks_a_rotation(
    steps: list[tuple[set[str], int, set[str]]], lost: bool
) -> None:
    """Each step: a pass, with whoever answers, that may die after some actions; then whoever loads."""
    store = SecretStore()
    store.look()
    store.nodes = dict.fromkeys(NODES, store.credentials.data)
    tokens = []
    if lost:
        del store.secrets[AUTHORITY]
    else:
        store.rotate("x")
    for answering, dies_after, loading in [*steps, *[(set(NODES), 2, set(NODES))] * 5]:
        store.look(answering, dies_after)
        if not lost:
            lives = credentials.TOKEN_LIFETIME
            tokens.append(credentials.token(store.authority, "alice", "trader", AUDIENCE, lives, store.now))
        for node in sorted(loading):
            store.load(node)
            assert store.strangers() == []
        assert [token for token in tokens if store.refusing(token)] == []
    store.now += credentials.TOKEN_LIFETIME - 1
    assert store.settle() < 2
    assert [token for token in tokens if store.refusing(token)] == []
    assert len(read_authority(store.authority).authorities) == len(read(store.credentials).trust) == 1


class Rotations(RuleBasedStateMachine):
    """``tokens``: those that were minted and are owed acceptance, with the time of their end."""

    def __init__(self) -> None:
        super().__init__()
        self.store = SecretStore()
        self.tokens: dict[str, float] = {}
        self.rotations = 0
        self.is_void = False  # a new authority, whose token key some node hasn't loaded yet

    @initialize(steps=st.integers(0, 3))
    def made(self, steps: int) -> None:
        """At rest, or some steps into a rotation that all have followed."""
        self.store.look()
        self.store.nodes = dict.fromkeys(NODES, self.store.credentials.data)
        for step in range(steps):
            if step == 0:
                self.rotate()
            self.store.load()
            self.store.look()

    @rule(answering=SOME, dies_after=st.integers(0, 2))
    def a_pass(self, answering: set[str], dies_after: int) -> None:
        self.store.look(answering, dies_after)

    @rule()
    def a_whole_pass(self) -> None:
        self.store.look()

    @precondition(lambda self: CREDENTIALS in self.store.secrets)
    @rule(which=SOME.filter(bool))
    def load(self, which: set[str]) -> None:
        self.store.load(*sorted(which))

    @precondition(lambda self: len(self.store.secrets) == 2)
    @rule()
    def all_load_and_look(self) -> None:
        self.store.load()
        self.store.look()
        self.store.load()

    @rule()
    def rotate(self) -> None:
        self.rotations += 1
        self.store.rotate(str(self.rotations))

    @rule(days=st.sampled_from([0.1, 8, 20, 61, 366, 3300]))
    def time_passes(self, days: float) -> None:
        self.store.now += days * DAY
        self.tokens = {token: end for token, end in self.tokens.items() if end > self.store.now}

    @precondition(lambda self: len(self.store.secrets) == 2 and not self.is_void)
    @rule(lifetime=st.sampled_from([60, credentials.TOKEN_LIFETIME]))
    def mint(self, lifetime: int) -> None:
        self.tokens[self._token(lifetime)] = self.store.now + lifetime

    @precondition(lambda self: len(self.store.secrets) == 2)
    @rule()
    def lose_the_authority(self) -> None:
        del self.store.secrets[AUTHORITY]
        self.tokens.clear()
        self.is_void = True

    @precondition(lambda self: len(self.store.secrets) == 2 and not self._trusts_a_lost_authority())
    @rule()
    def lose_the_credentials(self) -> None:
        del self.store.secrets[CREDENTIALS]

    def _trusts_a_lost_authority(self) -> bool:
        """The second loss, after which nodes break with each other for a while."""
        known = {authority.certificate for authority in read_authority(self.store.authority).authorities}
        shown = {self.store.credentials.data[names.TRUST], *(data[names.TRUST] for data in self.store.nodes.values())}
        return any(
            not set(read(self.store.credentials).trust) <= known or data != self.store.credentials.data[names.TRUST]
            for data in shown
        )

    @invariant()
    def every_node_trusts_what_every_other_shows(self) -> None:
        """Once one has expired, nothing is left that could be kept, and nothing is waited for."""
        assert self.store.has_expired() or self.store.strangers() == []

    @precondition(lambda self: self.is_void and len(self.store.secrets) == 2)
    @rule()
    def all_load_the_new_authoritys(self) -> None:
        self.store.load()
        self.is_void = bool(self.store.refusing(self._token(60)))

    def _token(self, lifetime: float) -> str:
        return credentials.token(self.store.authority, "alice", "trader", AUDIENCE, lifetime, self.store.now)

    @invariant()
    def every_token_is_taken_until_it_ends(self) -> None:
        assert [token for token in self.tokens if self.store.refusing(token)] == []

    def teardown(self) -> None:
        """Whatever was, it comes to rest, and well."""
        if not self.store.nodes:
            return
        self.store.now += credentials.ANNOUNCED
        self.store.look()
        self.store.settle()
        self.store.now += credentials.TOKEN_LIFETIME
        self.store.settle()
        signs, held = read_authority(self.store.authority), read(self.store.credentials)
        assert (len(signs.authorities), len(held.trust), len(signs.signing_keys)) == (1, 1, 1)
        assert held.peer is not None and held.peer.ends > self.store.now
        assert self.store.plan(answering=()) == ()


TestRotations = Rotations.TestCase
TestRotations.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
