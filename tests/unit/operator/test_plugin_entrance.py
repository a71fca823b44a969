"""How a command gets into a group: whom it trusts, and for how long its tokens are good."""

from __future__ import annotations

import base64
import ssl

import pytest

from orderbook.network import certificates
from orderbook_operator import credentials, names
from orderbook_operator.observation import PodSeen
from orderbook_operator.plugin.entrance import Found, Minter, Trust, maker, pods_to_ask, through, trust_of
from orderbook_operator.plugin.kubernetes import Kubernetes, Problem
from orderbook_operator.plugin.options import Asker
from orderbook_operator.resource import OrderBookGroup, Status
from unit.operator import api_server
from unit.operator.resources import NAMESPACE, group, seeded
from unit.operator.secret_store import SecretStore

OBSERVER = Asker("alice", "observer")
SERVICE = f"eth.{NAMESPACE}.svc.cluster.local"


def found(resource: OrderBookGroup, pods: tuple[PodSeen, ...] = (), *, in_cluster: bool = False) -> Found:
    kubernetes = Kubernetes(None, None, NAMESPACE, in_cluster)  # type: ignore[arg-type]
    return Found(kubernetes, resource, pods, Trust(), None)


def pod(ordinal: int, **changes: bool) -> PodSeen:
    return PodSeen(f"eth-{ordinal}", "u", ordinal, "", "", 0.0, **{"running": True, "ready": True, **changes})


def led_by(leader: str | None, members: int = 0) -> OrderBookGroup:
    rows = [{"name": f"eth-{one}", "id": str(one), "role": "voter", "lag": "none"} for one in range(members)]
    return group().model_copy(update={"status": Status.model_validate({"leader": leader, "members": rows})})


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_is_made_anew_at_half_of_its_life() -> None:
    now, made = [1000.0], []

    def make(lifetime: float, at: float) -> str:
        made.append((lifetime, at))
        return f"token-{len(made)}"

    minter = Minter(make, 600.0, lambda: now[0])
    assert [minter(), minter()] == ["token-1", "token-1"]
    now[0] += 299
    assert minter() == "token-1"
    now[0] += 2
    assert minter() == "token-2"
    assert made[0] == (660.0, 940.0), "from a minute ago, for nodes whose clocks are behind"


def test_a_clock_that_was_put_back_makes_another_token() -> None:
    now = [1000.0]
    minter = Minter(lambda lifetime, at: f"{at}", 600.0, lambda: now[0])
    first = minter()
    now[0] = 10.0
    assert minter() != first


def test_an_authority_that_is_damaged_is_a_problem() -> None:
    store = SecretStore()
    store.look()
    broken = credentials.SecretSeen("u", "1", {}, ours=True)
    with pytest.raises(Problem, match=r"the authority Secret can't be used"):
        maker(broken, "alice", "trader", group())(60, 1.8e9)


# --- trust ------------------------------------------------------------------------------------------------------------


async def trusted(spec: dict[str, object], secrets: dict[str, dict[str, bytes]], asker: Asker = OBSERVER) -> Trust:
    async with api_server.running() as server, api_server.client(server, "plugin") as cluster:
        for name, data in secrets.items():
            encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
            metadata = {"name": name, "namespace": NAMESPACE}
            server.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}, "secrets")
        return await trust_of(Kubernetes(cluster, None, NAMESPACE, False), group(spec), asker)  # type: ignore[arg-type]


async def test_nodes_are_trusted_by_the_authorities_of_the_credentials_under_the_service_s_name() -> None:
    store = SecretStore()
    store.look()
    trust = await trusted({}, {names.credentials_secret("eth"): dict(store.credentials.data)})
    assert trust == Trust(store.credentials.data[names.TRUST].decode(), SERVICE)
    assert isinstance(trust.context(), ssl.SSLContext)


async def test_without_tls_nobody_is_trusted() -> None:
    trust = await trusted({"tls": {"auto": False}}, {})
    assert trust == Trust() and trust.context() is True


async def test_a_user_s_own_certificate_is_trusted_as_it_is_under_a_name_of_its_own() -> None:
    issued = certificates.new_authority("desk", 1.8e9, 1e7, seeded())
    own = certificates.issue_server(issued, "desk", ("*.desk.example", "desk.example"), 1.8e9, 1e6, seeded(2))
    secrets = {"mine": {"tls.crt": own.certificate.encode(), "tls.key": own.key.encode()}}
    trust = await trusted({"tls": {"secret": "mine"}}, secrets)
    assert trust == Trust(own.certificate, "desk.example", own=True)
    context = trust.context()
    assert isinstance(context, ssl.SSLContext) and context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.check_hostname


async def test_a_secret_without_a_certificate_is_a_problem() -> None:
    with pytest.raises(Problem, match="eth-credentials holds no certificate"):
        await trusted({}, {"eth-credentials": {"ca.crt": b"nothing"}})


# --- which nodes ------------------------------------------------------------------------------------------------------


def test_the_leader_is_asked_first_and_who_is_not_ready_only_if_nobody_is() -> None:
    pods = (pod(0), pod(1, ready=False), pod(2))
    assert pods_to_ask(found(led_by("eth-2"), pods), everyone=False) == ["eth-2", "eth-0"]
    assert pods_to_ask(found(led_by("eth-2"), pods), everyone=True) == ["eth-2", "eth-0", "eth-1"]
    unready = tuple(pod(one, ready=False) for one in range(2))
    assert pods_to_ask(found(led_by(None), unready), everyone=False) == ["eth-0", "eth-1"]


def test_a_pod_that_ends_or_does_not_run_is_not_asked() -> None:
    pods = (pod(0, running=False), pod(1, terminating=True))
    with pytest.raises(Problem, match=r"no pod of eth runs: eth-0: .*; eth-1: ending"):
        pods_to_ask(found(led_by(None), pods), everyone=True)


def test_in_the_cluster_nodes_are_reached_by_their_names_the_service_first() -> None:
    with through(found(led_by("eth-1", members=2), in_cluster=True), OBSERVER) as entrance:
        peers = f"eth-peers.{NAMESPACE}.svc.cluster.local:8443"
        assert entrance.addresses == [f"http://{SERVICE}:8443", f"http://eth-1.{peers}", f"http://eth-0.{peers}"]
        assert list(entrance.probes) == ["eth-1", "eth-0"]
