"""Certificates and token keys of a group: what is issued, when it is renewed, and how it is replaced without a restart.

Two Secrets. The *authority* holds what signs, and no pod mounts it; the *credentials* are what every node mounts and
reads again whenever they change. Both are rebuilt from what is there, look by look; nothing is remembered elsewhere.

    authority      ca.<created>.crt, .key          a certificate authority; <created> in seconds since the epoch
                   token.<created>.key, .retired   a key that signs tokens; .retired: the time since when it doesn't
                   rotated, rotated-at             the last rotation that was asked for, and the <created> of its keys
    credentials    tls.crt, tls.key                what a node shows to its peers
                   client.crt, client.key          what it shows to clients; its holder is no peer
                   ca.crt                          whom nodes, and clients, trust
                   tokens.jwks                     the public keys of tokens

A new authority goes through these states. A step is taken when every node has reported the digest of the files of the
state before, so that at no time does a node show a certificate to one that doesn't trust its issuer:

    ca.crt     tls.crt by    next step, and when
    old        old           add the new one: a year before the old one ends, or when a rotation is asked for
    old, new   old           issue by the new one: every node trusts both, and ``ANNOUNCED`` has passed since, for
                             clients that copy ca.crt, unless the rotation was asked for
    old, new   new           drop the old one: every node shows the new certificate
    new        new           at rest

A pod that doesn't answer holds these steps up, because its node may run on and be heard by the others. Nothing that has
expired is waited for. Renewal within one authority takes no step: it is trusted already.

An authority Secret that was deleted is made anew, the trust in the old one is kept from ca.crt through the same steps,
and its token keys are gone: deleting it is how all tokens are revoked at once. Credentials that were deleted or damaged
are issued again by the oldest authority at hand, which every node trusts. Only when both are lost do nodes break with
each other until they have loaded the new files.

A token key: added; once every node has it, it signs, and the old one retires; a retired one is dropped when the last
token that it may have signed has expired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from orderbook import tokens
from orderbook.network import certificates
from orderbook.network.certificates import Issued
from orderbook_operator import names
from orderbook_operator.actions import Action, CreateSecret, ReplaceSecret
from orderbook_operator.certificates import Certificate, read_bundle, read_certificate
from orderbook_operator.observation import CredentialsSeen, Observation, SecretSeen
from orderbook_operator.resource import OrderBookGroup

DAY = 86400
AUTHORITY_LIFETIME = 3650 * DAY
AUTHORITY_SUCCEEDED = 365 * DAY  # before its end the next one is made
ANNOUNCED = 7 * DAY
CERTIFICATE_LIFETIME = 90 * DAY
CERTIFICATE_RENEWED = 60 * DAY  # after it was issued
TOKEN_KEY_LIFETIME = 365 * DAY
TOKEN_LIFETIME = 30 * DAY  # the longest that is minted
MOST_TOKEN_KEYS = 8
ADMIN_TOKEN_LIFETIME = 300
_SKEW = 60  # a node's clock may be behind the operator's by this much

OPERATOR = "orderbook-operator"
_ROTATED, _ROTATED_AT = "rotated", "rotated-at"

Draw = Callable[[int], bytes]


class UnreadableSecret(ValueError):
    """The authority Secret holds what the operator didn't write. The message says what, and what can be done."""


class CertificateAuthority(NamedTuple):
    created: int
    issued: Issued

    @property
    def certificate(self) -> Certificate:
        certificate = read_certificate(self.issued.certificate)
        assert certificate is not None  # it was read, or made, before
        return certificate


class TokenKey(NamedTuple):
    """``retired`` in seconds since the epoch; None while it signs, or is to sign."""

    created: int
    key: Ed25519PrivateKey
    retired: int | None = None


@dataclass(frozen=True)
class Authority:
    """What signs, the oldest first. ``rotated``: the value of the annotation that was last acted on."""

    authorities: tuple[CertificateAuthority, ...] = ()
    token_keys: tuple[TokenKey, ...] = ()
    rotated: str = ""
    rotated_at: int = 0

    @property
    def newest(self) -> CertificateAuthority:
        return self.authorities[-1]

    @property
    def signing_keys(self) -> tuple[TokenKey, ...]:
        """The one that signs, and its successor if that isn't on every node yet."""
        return tuple(key for key in self.token_keys if key.retired is None)


@dataclass(frozen=True)
class Credentials:
    """What nodes mount, as far as it can be read: None and empty where it can't."""

    data: Mapping[str, bytes]
    peer: Certificate | None = None
    client: Certificate | None = None
    trust: tuple[Certificate, ...] = ()

    def digest(self, name: str) -> str:
        """As a node reports it: SHA-256 of the file, in hex; "" if there is none."""
        content = self.data.get(name)
        return "" if content is None else sha256(content).hexdigest()


# --- reading ----------------------------------------------------------------------------------------------------------


def read(secret: SecretSeen | None) -> Credentials:
    """The credentials Secret. What can't be read is as good as absent: it is issued again."""
    if secret is None:
        return Credentials({})
    data = secret.data
    return Credentials(
        data,
        peer=_read_pair(data, names.PEER_CERTIFICATE, names.PEER_KEY),
        client=_read_pair(data, names.CLIENT_CERTIFICATE, names.CLIENT_KEY),
        trust=read_bundle(_text(data.get(names.TRUST, b""))),
    )


def _read_pair(data: Mapping[str, bytes], certificate: str, key: str) -> Certificate | None:
    found = read_certificate(_text(data.get(certificate, b"")))
    return found if found is not None and found.has_key(_text(data.get(key, b""))) else None


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def read_authority(secret: SecretSeen) -> Authority:
    """The authority Secret. Raises UnreadableSecret: these keys can't be made again, so nothing is guessed."""
    authorities, token_keys, rotated = [], [], {_ROTATED: "", _ROTATED_AT: "0"}
    for name in sorted(secret.data):
        content = _text(secret.data[name])
        kind, _, rest = name.partition(".")
        created, _, part = rest.partition(".")
        if name in rotated:
            rotated[name] = content
        elif kind == "ca" and part == "crt":
            authorities.append(_read_authority(secret, name, int(created) if created.isdecimal() else -1))
        elif kind == "token" and part == "key":
            retired = secret.data.get(f"token.{created}.retired")
            token_keys.append(_read_token_key(name, content, created, None if retired is None else _text(retired)))
    if not authorities or all(key.retired is not None for key in token_keys):
        raise _unreadable("it has no ca.<created>.crt, or no token.<created>.key that may sign")
    if not rotated[_ROTATED_AT].isdecimal():
        raise _unreadable(f"{_ROTATED_AT} holds no number of seconds")  # what it holds may be a key, by mistake
    return Authority(
        tuple(sorted(authorities)),
        tuple(sorted(token_keys, key=lambda key: key.created)),
        rotated[_ROTATED],
        int(rotated[_ROTATED_AT]),
    )


def _read_authority(secret: SecretSeen, name: str, created: int) -> CertificateAuthority:
    certificate = _text(secret.data[name])
    key = _text(secret.data.get(f"ca.{created}.key", b""))
    read = read_certificate(certificate)
    if created < 0 or read is None or not read.is_authority or not read.has_key(key):
        raise _unreadable(f"{name} is no certificate of an authority whose key is ca.<created>.key")
    return CertificateAuthority(created, Issued(certificate, key))


def _read_token_key(name: str, content: str, created: str, retired: str | None) -> TokenKey:
    if not created.isdecimal() or not (retired is None or retired.isdecimal()):
        raise _unreadable(f"{name}: <created> and .retired are seconds since the epoch")
    try:
        return TokenKey(int(created), tokens.read_private_key(content), None if retired is None else int(retired))
    except ValueError as error:
        raise _unreadable(f"{name} is {error}") from error


def _unreadable(what: str) -> UnreadableSecret:
    return UnreadableSecret(
        f"the authority Secret can't be used: {what}. Put it back, or delete it: a new one is made, certificates are"
        " replaced step by step, and all tokens are void"
    )


def loaded_by(seen: Observation) -> Mapping[str, CredentialsSeen]:
    """What each pod that there is, or is to be, has loaded; of those that don't answer, nothing."""
    expected = {pod.name for pod in seen.pods}
    if (live := seen.stateful_set) is not None:
        ordinals = range(live.first, live.first + live.replicas)
        expected |= {names.pod(seen.name, ordinal) for ordinal in ordinals}
    nothing = CredentialsSeen()
    return {name: seen.nodes[name].credentials if name in seen.nodes else nothing for name in sorted(expected)}


# --- tokens -----------------------------------------------------------------------------------------------------------


def token(authority: SecretSeen, subject: str, role: str, audience: str, lifetime: float, now: float) -> str:
    """A token that every node of the group takes. Raises UnreadableSecret; ValueError, naming what is wrong.

    ``lifetime`` is 1 s to ``TOKEN_LIFETIME``: a retired key is kept for no longer.
    """
    if lifetime > TOKEN_LIFETIME:
        raise ValueError(f"a token lives for at most {TOKEN_LIFETIME // DAY} days, not {lifetime / DAY:g}")
    signer = read_authority(authority).signing_keys[0]
    return tokens.mint(signer.key, subject, role, audience, lifetime, now)


def admin_token(authority: SecretSeen, audience: str, now: float) -> str:
    """The operator's own, for minutes. Raises UnreadableSecret."""
    return token(authority, OPERATOR, "admin", audience, ADMIN_TOKEN_LIFETIME + _SKEW, now - _SKEW)


# --- policy -----------------------------------------------------------------------------------------------------------


def plan_secrets(
    group: OrderBookGroup,
    authority: SecretSeen | None,
    credentials: SecretSeen | None,
    loaded: Mapping[str, CredentialsSeen],
    now: float,
    draw: Draw,
) -> tuple[Action, ...]:
    """What is next for both Secrets; nothing when all is well. Later actions build on earlier ones: one that fails ends
    the pass, and each pass looks at pods and Secrets after the pass before has written.

    ``loaded`` is by pod, as ``loaded_by`` makes it. Raises UnreadableSecret. Secrets that aren't ours are left alone.
    """
    if any(secret is not None and not secret.ours for secret in (authority, credentials)):
        return ()
    held = read(credentials)
    loaded = _of_use(group, held, loaded)
    wanted = group.metadata.annotations.get(names.ROTATE, "")
    if authority is None:
        signs = _add_keys(Authority(rotated=wanted), group, now, draw)
    else:
        signs = _next_authority(read_authority(authority), held, loaded, wanted, group, now, draw)
    actions = (
        _write(names.authority_secret(group.name), authority, _authority_data(signs)),
        _write(
            names.credentials_secret(group.name), credentials, _next_credentials(signs, held, loaded, group, now, draw)
        ),
    )
    return tuple(action for action in actions if action is not None)


def awaited(
    group: OrderBookGroup,
    authority: SecretSeen | None,
    credentials: SecretSeen | None,
    loaded: Mapping[str, CredentialsSeen],
) -> tuple[str, ...]:
    """The pods that hold up a rotation, in order: they have not loaded the newest files. None when none is under way.

    Raises UnreadableSecret.
    """
    if authority is None or credentials is None or not (authority.ours and credentials.ours):
        return ()
    signs, held = read_authority(authority), read(credentials)
    loaded = _of_use(group, held, loaded)
    of_certificates = len(signs.authorities) > 1 or len(held.trust) > 1
    of_tokens = len(signs.signing_keys) > 1
    return tuple(
        pod
        for pod in sorted(loaded)
        if (of_certificates and not _has_loaded(held, {pod: loaded[pod]}, names.TRUST, names.PEER_CERTIFICATE))
        or (of_tokens and not _has_loaded(held, {pod: loaded[pod]}, names.TOKEN_KEYS))
    )


def _of_use(
    group: OrderBookGroup, held: Credentials, loaded: Mapping[str, CredentialsSeen]
) -> Mapping[str, CredentialsSeen]:
    """Files that nodes don't use, because the spec turns TLS or tokens off, are as good as loaded."""
    used = loaded
    if not group.spec.tls.auto:
        shown, trusted = held.digest(names.PEER_CERTIFICATE), held.digest(names.TRUST)
        used = {pod: replace(node, certificate=shown, trust=trusted) for pod, node in used.items()}
    if group.spec.auth.mode == "none":
        used = {pod: replace(node, token_keys=held.digest(names.TOKEN_KEYS)) for pod, node in used.items()}
    return used


def _write(name: str, seen: SecretSeen | None, data: Mapping[str, bytes]) -> Action | None:
    if seen is None:
        return CreateSecret(name, data, owned=True)
    if seen.data == data:
        return None
    return ReplaceSecret(name, data, seen.uid, seen.resource_version, owned=True)


def _has_loaded(held: Credentials, loaded: Mapping[str, CredentialsSeen], *files: str) -> bool:
    """Every node has these files as they are now."""
    digests = {name: held.digest(name) for name in files}
    reported = {names.PEER_CERTIFICATE: "certificate", names.TRUST: "trust", names.TOKEN_KEYS: "token_keys"}
    return all(getattr(node, reported[name]) == digests[name] for node in loaded.values() for name in files)


# --- what signs -------------------------------------------------------------------------------------------------------


def _next_authority(
    signs: Authority,
    held: Credentials,
    loaded: Mapping[str, CredentialsSeen],
    wanted: str,
    group: OrderBookGroup,
    now: float,
    draw: Draw,
) -> Authority:
    signs = replace(signs, authorities=tuple(known for known in signs.authorities if known.certificate.ends > now))
    if not signs.authorities:
        signs = _add_authority(signs, group, now, draw)
    elif len(signs.authorities) > 1 and _shown_by_all(signs, held, loaded):
        signs = replace(signs, authorities=(signs.newest,))
    elif wanted and wanted != signs.rotated and _at_rest(signs):
        return _add_keys(replace(signs, rotated=wanted), group, now, draw)
    elif len(signs.authorities) == 1 and signs.newest.certificate.ends - now < AUTHORITY_SUCCEEDED:
        signs = _add_authority(signs, group, now, draw)
    return _next_token_keys(signs, held, loaded, now, draw)


def _at_rest(signs: Authority) -> bool:
    return len(signs.authorities) == len(signs.signing_keys) == 1 and len(signs.token_keys) < MOST_TOKEN_KEYS


def _add_keys(signs: Authority, group: OrderBookGroup, now: float, draw: Draw) -> Authority:
    signs = _add_token_key(_add_authority(signs, group, now, draw), now, draw)
    return replace(signs, rotated_at=signs.newest.created)


def _add_authority(signs: Authority, group: OrderBookGroup, now: float, draw: Draw) -> Authority:
    created = _created(now, (known.created for known in signs.authorities))
    issued = certificates.new_authority(f"{group.name} authority {created}", now, AUTHORITY_LIFETIME, draw)
    return replace(signs, authorities=(*signs.authorities, CertificateAuthority(created, issued)))


def _add_token_key(signs: Authority, now: float, draw: Draw) -> Authority:
    created = _created(now, (known.created for known in signs.token_keys))
    key = TokenKey(created, Ed25519PrivateKey.from_private_bytes(draw(32)))
    return replace(signs, token_keys=(*signs.token_keys, key))


def _created(now: float, known: Iterable[int]) -> int:
    """Later than all that are known, whatever clocks do: the order of ages is the order of states."""
    return max(int(now), 1 + max(known, default=0))


def _next_token_keys(
    signs: Authority, held: Credentials, loaded: Mapping[str, CredentialsSeen], now: float, draw: Draw
) -> Authority:
    keys = signs.token_keys
    published = held.data.get(names.TOKEN_KEYS) == _jwks(signs)
    if len(signs.signing_keys) > 1 and published and _has_loaded(held, loaded, names.TOKEN_KEYS):
        newest = signs.signing_keys[-1]
        return replace(
            signs,
            token_keys=tuple(
                key._replace(retired=int(now)) if key.retired is None and key != newest else key for key in keys
            ),
        )
    kept = tuple(key for key in keys if key.retired is None or key.retired + TOKEN_LIFETIME > now)
    signs = replace(signs, token_keys=kept)
    is_old = signs.signing_keys[0].created + TOKEN_KEY_LIFETIME <= now
    return _add_token_key(signs, now, draw) if is_old and len(signs.signing_keys) == 1 else signs


def _authority_data(signs: Authority) -> dict[str, bytes]:
    data: dict[str, bytes] = {}
    for authority in signs.authorities:
        data[f"ca.{authority.created}.crt"] = authority.issued.certificate.encode()
        data[f"ca.{authority.created}.key"] = authority.issued.key.encode()
    for key in signs.token_keys:
        data[f"token.{key.created}.key"] = tokens.private_pem(key.key).encode()
        if key.retired is not None:
            data[f"token.{key.created}.retired"] = str(key.retired).encode()
    return {**data, _ROTATED: signs.rotated.encode(), _ROTATED_AT: str(signs.rotated_at).encode()}


# --- what nodes mount -------------------------------------------------------------------------------------------------


def _next_credentials(
    signs: Authority,
    held: Credentials,
    loaded: Mapping[str, CredentialsSeen],
    group: OrderBookGroup,
    now: float,
    draw: Draw,
) -> dict[str, bytes]:
    trust = _trust(signs, held, loaded, now)
    issuer, signer = _issuer(signs, held), _signer(signs, held, loaded, trust, now)
    kept = {
        name: held.data[name]
        for name in (names.PEER_CERTIFICATE, names.PEER_KEY, names.CLIENT_CERTIFICATE, names.CLIENT_KEY)
        if name in held.data
    }
    if signer is not None and (signer is not issuer or not _is_good(held, signer, group, now)):
        kept = _issue(signer, group, now, draw)
    return {**kept, names.TRUST: trust, names.TOKEN_KEYS: _jwks(signs)}


def _issue(signer: CertificateAuthority, group: OrderBookGroup, now: float, draw: Draw) -> dict[str, bytes]:
    lifetime = min(CERTIFICATE_LIFETIME, signer.certificate.ends - now)
    peers, clients = _hosts(group)
    peer = certificates.issue_peer(signer.issued, f"{group.name} peer", peers, now, lifetime, draw)
    client = certificates.issue_server(signer.issued, f"{group.name} clients", clients, now, lifetime, draw)
    return {
        names.PEER_CERTIFICATE: peer.certificate.encode(),
        names.PEER_KEY: peer.key.encode(),
        names.CLIENT_CERTIFICATE: client.certificate.encode(),
        names.CLIENT_KEY: client.key.encode(),
    }


def _hosts(group: OrderBookGroup) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The DNS names and addresses of both certificates: of each pod, of the Services, and of a port-forward's end."""
    peers = _short_and_full(names.peer_service(group.name), group.namespace)
    pods = tuple(f"*.{host}" for host in peers)
    service = names.client_service(group.name)
    clients = (service, f"{service}.{group.namespace}", *_short_and_full(service, group.namespace))
    return (*pods, *peers), (*clients, *pods, "localhost", "127.0.0.1", "::1")


def _short_and_full(service: str, namespace: str) -> tuple[str, str]:
    full = names.service_host(service, namespace)
    return full.removesuffix(f".{names.CLUSTER_DOMAIN}"), full


def _is_good(held: Credentials, signer: CertificateAuthority, group: OrderBookGroup, now: float) -> bool:
    peers, clients = _hosts(group)
    return all(
        certificate is not None
        and certificate.is_issued_by(signer.certificate)
        and set(hosts) <= certificate.hosts
        and now < min(certificate.begins + CERTIFICATE_RENEWED, certificate.ends)
        for certificate, hosts in ((held.peer, peers), (held.client, clients))
    )


def _issuer(signs: Authority, held: Credentials) -> CertificateAuthority | None:
    """Who issued the peers' certificate, None if that is no authority whose key is at hand."""
    return next((known for known in signs.authorities if held.peer and held.peer.is_issued_by(known.certificate)), None)


def _signer(
    signs: Authority, held: Credentials, loaded: Mapping[str, CredentialsSeen], trust: bytes, now: float
) -> CertificateAuthority | None:
    """Who issues now; None: the certificate stays, by an authority whose key is lost and that nodes still trust."""
    issuer = _issuer(signs, held)
    if issuer is signs.newest:
        return issuer
    stranger = next((known for known in held.trust if held.peer and held.peer.is_issued_by(known)), None)
    if stranger is None or held.peer is None or held.peer.ends <= now:  # nobody can trust what is there
        return signs.authorities[0]
    was_asked_for = issuer is None or signs.rotated_at == signs.newest.created
    is_announced = was_asked_for or signs.newest.created + ANNOUNCED <= now
    everybody_trusts = held.data.get(names.TRUST) == trust and _has_loaded(held, loaded, names.TRUST)
    return signs.newest if is_announced and everybody_trusts else issuer


def _shown_by_all(signs: Authority, held: Credentials, loaded: Mapping[str, CredentialsSeen]) -> bool:
    """Every node shows the certificate of the newest authority: no other need be trusted."""
    return _issuer(signs, held) is signs.newest and _has_loaded(held, loaded, names.PEER_CERTIFICATE)


def _trust(signs: Authority, held: Credentials, loaded: Mapping[str, CredentialsSeen], now: float) -> bytes:
    """All authorities, and those that are trusted until now while a node may still show their certificate."""
    ours = [authority.certificate for authority in signs.authorities]
    strangers = [known for known in held.trust if known.is_authority and known.ends > now and known not in ours]
    if _shown_by_all(signs, held, loaded):
        strangers = []
    return "".join(certificate.pem for certificate in (*strangers, *ours)).encode()


def _jwks(signs: Authority) -> bytes:
    return tokens.public_jwks(key.key for key in signs.token_keys).encode()
