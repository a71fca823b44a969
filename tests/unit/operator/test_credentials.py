"""What is issued, when it is renewed, and how keys are replaced: states of two Secrets, one pass after the other."""

from __future__ import annotations

import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orderbook.network.tls import (
    PEER_NAME,
    client_listener_context,
    peer_client_context,
    peer_problem,
    peer_server_context,
    try_handshake,
)
from orderbook.server.credentials import CredentialFiles, load
from orderbook.tokens import TokenKeys
from orderbook_operator import credentials, names
from orderbook_operator.actions import CreateSecret
from orderbook_operator.credentials import UnreadableSecret, read, read_authority
from orderbook_operator.observation import (
    CredentialsSeen,
    Member,
    NodeSeen,
    Observation,
    PodSeen,
    SecretSeen,
    StatefulSetSeen,
)
from orderbook_operator.plan import plan
from orderbook_operator.policy.decision import Reason
from orderbook_operator.spec import Spec
from unit.operator.resources import group, seeded
from unit.operator.secret_store import AUTHORITY, CREDENTIALS, DAY, SecretStore

NODES = ("eth-0", "eth-1", "eth-2")
AUDIENCE = names.audience("eth", "trading")


@pytest.fixture
def store() -> SecretStore:
    """At rest: made, and loaded by three nodes."""
    store = SecretStore()
    store.look()
    store.nodes = dict.fromkeys(NODES, store.credentials.data)
    return store


def issuers(store: SecretStore) -> tuple[int, int]:
    """How many authorities there are, and which of them issued what is mounted now."""
    signs, held = read_authority(store.authority), read(store.credentials)
    assert held.peer is not None
    return len(signs.authorities), next(
        place for place, known in enumerate(signs.authorities) if held.peer.is_issued_by(known.certificate)
    )


# --- what is made -----------------------------------------------------------------------------------------------------


def test_both_secrets_are_made_in_one_pass_and_go_with_the_resource() -> None:
    actions = SecretStore().plan()
    assert [(type(action), action.name, action.owned) for action in actions] == [  # type: ignore[union-attr]
        (CreateSecret, AUTHORITY, True),
        (CreateSecret, CREDENTIALS, True),
    ]


def test_nothing_that_signs_is_mounted(store: SecretStore) -> None:
    signing = {content for name, content in store.authority.data.items() if name.endswith(".key")}
    assert len(signing) == 2
    assert not any(key.strip() in content for key in signing for content in store.credentials.data.values())


def test_what_is_made_is_at_rest(store: SecretStore) -> None:
    assert store.plan() == ()


def test_equal_draws_make_equal_secrets() -> None:
    assert SecretStore(draw=seeded(7)).plan() == SecretStore(draw=seeded(7)).plan()
    assert SecretStore(draw=seeded(7)).plan() != SecretStore(draw=seeded(8)).plan()


def test_secrets_of_others_are_left_alone(store: SecretStore) -> None:
    store.secrets[CREDENTIALS] = replace(store.credentials, ours=False, data={})
    assert store.plan() == ()


def test_a_node_shakes_hands_with_its_like_and_shows_clients_another_certificate(tmp_path: Path) -> None:
    store = SecretStore(now=time.time())  # OpenSSL looks at the real clock
    store.look()
    for name, content in store.credentials.data.items():
        (tmp_path / name).write_bytes(content)
    trust = store.credentials.data[names.TRUST].decode()
    certificate, key = str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")
    accepts = peer_server_context(certificate, key, trust)
    shown = try_handshake(accepts, peer_client_context(certificate, key, trust), PEER_NAME)
    assert peer_problem(shown) == ""

    listens = client_listener_context(str(tmp_path / "client.crt"), str(tmp_path / "client.key"))
    client = ssl.create_default_context(cadata=trust)
    hosts = (
        "eth",
        "eth.trading.svc",
        "eth.trading.svc.cluster.local",
        "eth-2.eth-peers.trading.svc.cluster.local",
        "eth-0.eth-peers.trading.svc",
        "localhost",
        "127.0.0.1",
    )
    for host in hosts:
        try_handshake(listens, client, host)
    for host in ("btc.trading.svc", "eth.other.svc.cluster.local", "orderbook.example.com", PEER_NAME):
        with pytest.raises(ssl.SSLCertVerificationError):
            try_handshake(listens, client, host)

    as_peer = peer_client_context(str(tmp_path / "client.crt"), str(tmp_path / "client.key"), trust)
    with pytest.raises(ssl.SSLError, match=r"(?i)unsuitable|unsupported|purpose"):
        try_handshake(accepts, as_peer, PEER_NAME)


@pytest.mark.parametrize("loses", [False, True])
def test_a_node_takes_the_files_of_every_step_of_a_rotation(tmp_path: Path, loses: bool) -> None:
    """A node refuses a set that no peer which trusts it would take."""
    store = SecretStore(now=time.time())
    store.look()
    store.nodes = dict.fromkeys(NODES, store.credentials.data)
    if loses:
        del store.secrets[AUTHORITY]
    else:
        store.rotate("x")
    paths = [tmp_path / name for name in ("tls.crt", "tls.key", "ca.crt", "client.crt", "client.key", "tokens.jwks")]
    for step in range(4):
        for path in paths:
            path.write_bytes(store.credentials.data[path.name])
        report = load(CredentialFiles(*paths)).report
        loaded = CredentialsSeen(report.certificate or "", report.trust or "", report.token_keys or "")
        assert loaded == CredentialsSeen(*_digests(store.credentials.data))
        store.load()
        assert bool(store.look()) == (step < 3)


def test_the_operators_token_is_an_admins_for_minutes(store: SecretStore) -> None:
    token = credentials.admin_token(store.authority, AUDIENCE, store.now)
    claims = TokenKeys.parse(store.credentials.data[names.TOKEN_KEYS].decode()).verify(token, AUDIENCE, store.now - 60)
    assert (claims.subject, claims.role.name, claims.expires - store.now) == (credentials.OPERATOR, "ADMIN", 300)


def test_a_token_for_longer_than_a_retired_key_is_kept_is_refused(store: SecretStore) -> None:
    with pytest.raises(ValueError, match="at most 30 days, not 31"):
        credentials.token(store.authority, "alice", "trader", AUDIENCE, 31 * DAY, store.now)


# --- renewal ----------------------------------------------------------------------------------------------------------


def test_certificates_are_renewed_at_two_thirds_by_the_same_authority(store: SecretStore) -> None:
    store.now += 60 * DAY - 1
    assert store.plan() == ()
    store.now += 1
    before = dict(store.credentials.data)
    assert [action.name for action in store.look(answering=())] == [CREDENTIALS]  # type: ignore[union-attr]
    changed = {name for name, content in store.credentials.data.items() if content != before[name]}
    assert changed == {"tls.crt", "tls.key", "client.crt", "client.key"}
    assert store.strangers() == []


@pytest.mark.parametrize(
    "damage",
    [
        {"tls__crt": b"garbage"},
        {"tls__key": None},
        {"client__crt": None},
        {"ca__crt": b""},
        {"tokens__jwks": b"{}"},
        {"surplus": b"x"},
    ],
)
def test_damaged_credentials_are_issued_again(store: SecretStore, damage: dict[str, bytes | None]) -> None:
    store.change(CREDENTIALS, **damage)
    assert [action.name for action in store.look()] == [CREDENTIALS]  # type: ignore[union-attr]
    assert set(store.credentials.data) == {"tls.crt", "tls.key", "client.crt", "client.key", "ca.crt", "tokens.jwks"}
    assert store.plan() == ()
    store.load("eth-0")
    assert store.strangers() == []


def test_the_key_of_another_certificate_is_noticed(store: SecretStore) -> None:
    store.change(CREDENTIALS, tls__key=store.credentials.data["client.key"])
    store.look()
    assert read(store.credentials).peer is not None


def test_lost_credentials_are_issued_by_the_authority_that_nodes_trust(store: SecretStore) -> None:
    del store.secrets[CREDENTIALS]
    assert [type(action) for action in store.look()] == [CreateSecret]
    store.load("eth-1")
    assert store.strangers() == []


# --- rotation ---------------------------------------------------------------------------------------------------------


def test_a_rotation_that_was_asked_for_goes_step_by_step(store: SecretStore) -> None:
    store.rotate("2026-11")
    steps = [issuers(store)]
    for _ in range(3):
        assert store.look()
        steps.append(issuers(store))
        assert store.plan(answering=NODES[:2]) == (), "who doesn't answer is waited for"
        assert store.plan() == (), "what isn't loaded is waited for"
        store.load("eth-0", "eth-1")
        assert store.plan() == ()
        store.load("eth-2")
    assert steps == [(1, 0), (2, 0), (2, 1), (1, 0)]
    assert len(read(store.credentials).trust) == 1
    assert store.plan() == (), "the same value asks for nothing more"


def test_the_pods_that_are_waited_for_are_named(store: SecretStore) -> None:
    def awaited() -> tuple[str, ...]:
        nodes = {name: CredentialsSeen(*_digests(data)) for name, data in store.nodes.items()}
        return credentials.awaited(store.group, store.authority, store.credentials, nodes)

    assert awaited() == ()
    store.rotate("x")
    store.look()
    assert awaited() == NODES
    store.load("eth-0", "eth-2")
    assert awaited() == ("eth-1",)


def _digests(data: object) -> tuple[str, ...]:
    held = credentials.Credentials(data)  # type: ignore[arg-type]
    return tuple(held.digest(name) for name in (names.PEER_CERTIFICATE, names.TRUST, names.TOKEN_KEYS))


def test_a_rotation_under_way_is_no_rest(store: SecretStore) -> None:
    """Else nobody would look at what nodes have loaded for minutes."""

    def waits() -> list[tuple[Reason, str]]:
        metadata = store.group.metadata.model_copy(update={"finalizers": (names.FINALIZER,)})
        paused = store.group.model_copy(update={"metadata": metadata, "spec": Spec(paused=True)})
        nodes = {
            name: NodeSeen(name, Member(name, 1), "member", credentials=CredentialsSeen(*_digests(data)))
            for name, data in store.nodes.items()
        }
        seen = Observation(
            now=store.now,
            resource=paused,
            default_image="",
            authority=store.authority,
            credentials=store.credentials,
            pods=tuple(PodSeen(name, "u", place, "r", "t", 0.0) for place, name in enumerate(NODES)),
            nodes=nodes,
        )
        return [(wait.reason, wait.message) for wait in plan(seen, store.draw).waits]

    assert waits() == []
    store.rotate("x")
    store.look()
    store.load("eth-0", "eth-2")
    assert waits() == [
        (Reason.ROTATING_CREDENTIALS, "new certificates and token keys wait until eth-1 has loaded what is there")
    ]
    store.settle()
    assert waits() == []


def test_an_authority_is_succeeded_a_year_before_its_end_and_announced_for_a_week(store: SecretStore) -> None:
    store.now += 9 * 365 * DAY - 60
    store.settle()
    assert issuers(store) == (1, 0)
    store.now += 120
    store.settle()
    assert issuers(store) == (2, 0), "clients get a week to copy ca.crt"
    store.now += 7 * DAY
    store.settle()
    assert issuers(store) == (1, 0)
    assert read_authority(store.authority).newest.certificate.ends > store.now + 9 * 365 * DAY


@pytest.mark.parametrize("under_way", [False, True])
def test_when_all_has_expired_all_is_made_anew(store: SecretStore, under_way: bool) -> None:
    if under_way:
        store.rotate("x")
        store.look()
    store.now += 11 * 365 * DAY
    store.settle()
    held = read(store.credentials)
    assert held.peer is not None and held.peer.ends > store.now
    assert issuers(store) == (1, 0)


def test_a_new_token_key_signs_once_every_node_has_it_and_the_old_one_stays_until_its_tokens_are_over(
    store: SecretStore,
) -> None:
    old = credentials.token(store.authority, "alice", "trader", AUDIENCE, credentials.TOKEN_LIFETIME, store.now)
    store.now += 1
    store.rotate("x")
    store.look()
    assert store.refusing(credentials.admin_token(store.authority, AUDIENCE, store.now)) == []
    store.settle()
    kept = read_authority(store.authority).token_keys
    assert [key.retired is None for key in kept] == [False, True]
    assert store.refusing(old) == []
    store.now += credentials.TOKEN_LIFETIME
    store.settle()
    assert len(read_authority(store.authority).token_keys) == 1
    assert store.refusing(old) == list(NODES)


def test_token_keys_are_replaced_each_year(store: SecretStore) -> None:
    first = read_authority(store.authority).signing_keys
    store.now += 365 * DAY
    store.settle()
    assert read_authority(store.authority).signing_keys[0].created > first[0].created
    assert len(read_authority(store.authority).signing_keys) == 1


def test_a_second_rotation_waits_for_the_first(store: SecretStore) -> None:
    store.rotate("one")
    store.look()
    store.rotate("two")
    assert store.plan() == ()
    store.settle()
    assert read_authority(store.authority).rotated == "two"


def test_rotations_without_end_keep_a_bounded_number_of_token_keys(store: SecretStore) -> None:
    for value in range(12):
        store.rotate(str(value))
        store.settle()
    assert len(read_authority(store.authority).token_keys) == credentials.MOST_TOKEN_KEYS


@pytest.mark.parametrize("spec", [{"tls": {"auto": False}}, {"auth": {"mode": "none"}}])
def test_files_that_no_node_uses_are_not_waited_for(store: SecretStore, spec: dict[str, object]) -> None:
    store.group = group(spec, annotations={names.ROTATE: "x"})
    unused = {"certificate": "", "trust": ""} if "tls" in spec else {"token_keys": ""}
    for _ in range(4):
        nodes = {name: replace(CredentialsSeen(*_digests(data)), **unused) for name, data in store.nodes.items()}
        actions = credentials.plan_secrets(
            store.group, store.authority, store.credentials, nodes, store.now, store.draw
        )
        for action in actions:
            store._write(action)
        store.load()
    assert issuers(store) == (1, 0)
    assert len(read_authority(store.authority).signing_keys) == 1


# --- what was lost ----------------------------------------------------------------------------------------------------


def test_a_lost_authority_voids_tokens_and_replaces_certificates_without_a_break(store: SecretStore) -> None:
    token = credentials.token(store.authority, "alice", "trader", AUDIENCE, DAY, store.now)
    del store.secrets[AUTHORITY]
    for _ in range(3):
        assert store.look()
        for name in NODES:
            store.load(name)
            assert store.strangers() == []
    assert store.plan() == ()
    assert len(read(store.credentials).trust) == 1
    assert store.refusing(token) == list(NODES)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("ca.{ca}.crt", b"x", "is no certificate of an authority"),
        ("ca.{ca}.key", None, "is no certificate of an authority whose key"),
        ("token.{token}.key", b"x", "is not an unencrypted private key"),
        ("token.{token}.key", None, r"no token\.<created>\.key that may sign"),
        ("token.{token}.retired", b"yesterday", "seconds since the epoch"),
        ("token.new.key", b"x", "seconds since the epoch"),
        ("rotated-at", b"soon", "rotated-at holds no number of seconds"),
    ],
)
def test_an_authority_that_cannot_be_read_is_refused_by_name(
    store: SecretStore, name: str, content: bytes | None, says: str
) -> None:
    signs = read_authority(store.authority)
    key = name.format(ca=signs.newest.created, token=signs.token_keys[0].created)
    data = {**store.authority.data, key: content}
    broken = SecretSeen("u", "1", {at: value for at, value in data.items() if value is not None})
    with pytest.raises(UnreadableSecret, match=says):
        read_authority(broken)


def test_a_pod_that_does_not_answer_or_is_not_there_yet_has_loaded_nothing() -> None:
    known = CredentialsSeen("a", "b", "c")
    seen = Observation(
        now=0.0,
        resource=group(),
        default_image="",
        stateful_set=StatefulSetSeen("u", 3, "t", "r", True),
        pods=tuple(PodSeen(f"eth-{ordinal}", "u", ordinal, "r", "t", 0.0) for ordinal in (0, 1, 4)),
        nodes={"eth-0": NodeSeen("eth-0", Member("eth-0", 1), "member", credentials=known)},
    )
    nothing = CredentialsSeen()
    assert credentials.loaded_by(seen) == {"eth-0": known, "eth-1": nothing, "eth-2": nothing, "eth-4": nothing}


def test_while_a_recovery_narrows_the_group_only_the_survivor_is_to_be() -> None:
    live = StatefulSetSeen("uid", 1, "template", "eth-1", True, first=2)
    seen = Observation(0.0, group(), "image", stateful_set=live)
    assert list(credentials.loaded_by(seen)) == ["eth-2"]
