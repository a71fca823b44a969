"""Both Secrets of a group, nodes that load them when they like, and the operator's passes over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256

from orderbook.tokens import TokenKeys, TokenRefused
from orderbook_operator import names
from orderbook_operator.actions import Action, CreateSecret, ReplaceSecret
from orderbook_operator.certificates import read_bundle, read_certificate
from orderbook_operator.credentials import plan_secrets
from orderbook_operator.observation import CredentialsSeen, SecretSeen
from orderbook_operator.resource import OrderBookGroup
from unit.operator.resources import group, seeded

AUTHORITY, CREDENTIALS = "eth-authority", "eth-credentials"
DAY = 86400.0


@dataclass
class SecretStore:
    """``nodes`` holds the credentials that each has loaded."""

    group: OrderBookGroup = field(default_factory=group)
    now: float = 1.8e9
    secrets: dict[str, SecretSeen] = field(default_factory=dict)
    nodes: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    draw: Callable[[int], bytes] = field(default_factory=seeded)
    _writes: int = 0

    @property
    def authority(self) -> SecretSeen:
        return self.secrets[AUTHORITY]

    @property
    def credentials(self) -> SecretSeen:
        return self.secrets[CREDENTIALS]

    def plan(self, answering: Iterable[str] | None = None) -> tuple[Action, ...]:
        """By default all nodes answer."""
        known = set(self.nodes if answering is None else answering)
        loaded = {name: _report(data) if name in known else CredentialsSeen() for name, data in self.nodes.items()}
        seen = self.secrets.get(AUTHORITY), self.secrets.get(CREDENTIALS)
        return plan_secrets(self.group, *seen, loaded, self.now, self.draw)

    def look(self, answering: Iterable[str] | None = None, dies_after: int = 9) -> tuple[Action, ...]:
        """One pass of the operator, which may die after some of its actions."""
        planned = self.plan(answering)
        for action in planned[:dies_after]:
            self._write(action)
        return planned

    def _write(self, action: Action) -> None:
        assert isinstance(action, CreateSecret | ReplaceSecret)
        there = self.secrets.get(action.name)
        if isinstance(action, ReplaceSecret):
            assert there is not None and (there.uid, there.resource_version) == (action.uid, action.resource_version)
        else:
            assert there is None
        self._writes += 1
        uid = there.uid if there else f"uid-{self._writes}"
        self.secrets[action.name] = SecretSeen(uid, str(self._writes), dict(action.data))

    def change(self, name: str, **data: bytes | None) -> None:
        """Somebody edits a Secret; ``__`` in a key stands for ".", None takes it away."""
        changed = {key.replace("__", "."): value for key, value in data.items()}
        merged = {key: value for key, value in {**self.secrets[name].data, **changed}.items() if value is not None}
        self._writes += 1
        self.secrets[name] = replace(self.secrets[name], data=merged, resource_version=str(self._writes))

    def load(self, *which: str) -> None:
        """These nodes, or all, load what is there now; also how one starts."""
        for name in which or tuple(self.nodes):
            self.nodes[name] = self.credentials.data

    def settle(self) -> int:
        """Passes until none acts; all nodes load and answer in between. Returns how many acted."""
        for acted in range(20):
            self.load()
            if not self.look():
                return acted
        raise AssertionError("20 passes, and still there is something to do")

    def rotate(self, value: str) -> None:
        self.group = group(annotations={names.ROTATE: value})

    # --- what must hold -----------------------------------------------------------------------------------------------

    def strangers(self) -> list[tuple[str, str]]:
        """Pairs of nodes of which the first doesn't trust the issuer of a certificate that the second shows."""
        return [
            (one, other)
            for one in self.nodes
            for other in self.nodes
            for shown in (names.PEER_CERTIFICATE, names.CLIENT_CERTIFICATE)
            if not _trusts(self.nodes[one][names.TRUST], self.nodes[other][shown])
        ]

    def has_expired(self) -> bool:
        """A node shows a certificate that was not renewed in time."""
        shown = (read_certificate(data[names.PEER_CERTIFICATE].decode()) for data in self.nodes.values())
        return any(certificate is not None and certificate.ends <= self.now for certificate in shown)

    def refusing(self, token: str) -> list[str]:
        """The nodes that don't take this token now."""
        return [name for name, data in self.nodes.items() if not _takes(data[names.TOKEN_KEYS], token, self.now)]


@cache
def _takes(keys: bytes, token: str, now: float) -> bool:
    try:
        TokenKeys.parse(keys.decode()).verify(token, names.audience("eth", "trading"), now)
    except TokenRefused:
        return False
    return True


@cache
def _trusts(bundle: bytes, shown: bytes) -> bool:
    certificate = read_certificate(shown.decode())
    return certificate is not None and any(certificate.is_issued_by(known) for known in read_bundle(bundle.decode()))


def _report(data: Mapping[str, bytes]) -> CredentialsSeen:
    files = (names.PEER_CERTIFICATE, names.TRUST, names.TOKEN_KEYS)
    return CredentialsSeen(*(sha256(data[name]).hexdigest() for name in files))
