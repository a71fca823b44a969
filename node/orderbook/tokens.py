"""Tokens of clients: JWT signed with Ed25519 (``alg`` EdDSA), and the public keys that prove them: a JWKS (RFC 7517).

=======  ============================================================================================================
claim    meaning
=======  ============================================================================================================
sub      the trader: 1 to 256 bytes of UTF-8
role     trader, observer or admin
aud      the group that it is for
exp      seconds since the epoch: from then on it is worth nothing. Required
iat,     optional; a token from the future, by more than ``LEEWAY_SECONDS``, is refused
nbf
=======  ============================================================================================================

The header's ``kid`` names the key: its thumbprint (RFC 7638), so that a key has one name wherever it is written down.
No other algorithm is ever tried, whatever a token's header says.

Pure: clocks and files are the caller's. Used by nodes, by the command line, and by whoever else mints.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from orderbook.wire.roles import Role

ALGORITHM = "EdDSA"
LEEWAY_SECONDS = 10
MAX_SUBJECT_BYTES = 256
MAX_TOKEN_BYTES = 4096
MAX_KEYS = 16
MAX_LIFETIME_SECONDS = 10 * 366 * 86400
ROLES: Mapping[str, Role] = {"trader": Role.TRADER, "observer": Role.OBSERVER, "admin": Role.ADMIN}


class Refusal(StrEnum):
    """Why a token is refused: a closed set."""

    MISSING = "token_missing"
    MALFORMED = "token_malformed"  # no JWT, or another algorithm
    UNKNOWN_KEY = "token_key_unknown"  # or dropped
    BAD_SIGNATURE = "token_signature"
    EXPIRED = "token_expired"
    NOT_YET_VALID = "token_not_yet_valid"
    WRONG_AUDIENCE = "token_audience"
    WRONG_CLAIMS = "token_claims"  # one is missing, or has a value that is not allowed


class TokenRefused(Exception):
    """The message is for people and holds nothing of the token but what it claims."""

    def __init__(self, reason: Refusal, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Claims(NamedTuple):
    """Of a token that was proven. ``expires`` in seconds since the epoch; ``key`` is the id of the key that signed."""

    subject: str
    role: Role
    expires: float
    key: str


class TokenKeys:
    """The public keys that are trusted, several during a rotation."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = dict(keys)

    @classmethod
    def parse(cls, text: str) -> TokenKeys:
        """From a JWKS of 1 to ``MAX_KEYS`` Ed25519 keys. Raises ValueError with what is wrong with which key."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ValueError(f"not JSON: {error}") from error
        rows = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_KEYS:
            raise ValueError(f'a JWKS is {{"keys": [...]}} with 1 to {MAX_KEYS} keys')
        keys: dict[str, Ed25519PublicKey] = {}
        for position, row in enumerate(rows):
            id, key = _key_from(row, f"keys[{position}]")
            if id in keys:
                raise ValueError(f"keys[{position}]: the kid {id!r} is there twice")
            keys[id] = key
        return cls(keys)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._keys))

    def verify(self, token: str, audience: str, now: float) -> Claims:
        """What a token claims, once it is proven. Raises TokenRefused."""
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenRefused(Refusal.MALFORMED, f"a token has at most {MAX_TOKEN_BYTES} bytes")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError as error:
            raise TokenRefused(Refusal.MALFORMED, "this is no JWT") from error
        if header.get("alg") != ALGORITHM:
            raise TokenRefused(Refusal.MALFORMED, f"a token is signed with {ALGORITHM}")
        id = header.get("kid")
        key = self._keys.get(id) if isinstance(id, str) else None
        if key is None:
            raise TokenRefused(Refusal.UNKNOWN_KEY, "the token's kid names no key that this node trusts")
        checks: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        try:
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], options=checks)
        except jwt.InvalidSignatureError as error:
            raise TokenRefused(Refusal.BAD_SIGNATURE, "the signature is not of the key that kid names") from error
        except jwt.InvalidTokenError as error:
            raise TokenRefused(Refusal.MALFORMED, "this is no JWT") from error
        return _checked(claims, str(id), audience, now)


def _checked(claims: Mapping[str, Any], key: str, audience: str, now: float) -> Claims:
    times = {name: claims.get(name) for name in ("exp", "iat", "nbf")}
    for name, value in times.items():
        if (value is None and name == "exp") or (value is not None and not _is_time(value)):
            raise TokenRefused(Refusal.WRONG_CLAIMS, f"{name} is a number of seconds since the epoch")
    if times["exp"] <= now:  # type: ignore[operator]  # a number: it was checked above
        raise TokenRefused(Refusal.EXPIRED, "the token has expired")
    for name in ("iat", "nbf"):
        if times[name] is not None and times[name] > now + LEEWAY_SECONDS:  # type: ignore[operator]
            raise TokenRefused(Refusal.NOT_YET_VALID, f"the token's {name} lies in the future")
    audiences = claims.get("aud")
    if audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise TokenRefused(Refusal.WRONG_AUDIENCE, f"the token's aud is not {audience!r}")
    problem = subject_problem(claims.get("sub"))
    if problem:
        raise TokenRefused(Refusal.WRONG_CLAIMS, problem)
    role = claims.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise TokenRefused(Refusal.WRONG_CLAIMS, f"role is one of {', '.join(ROLES)}")
    return Claims(claims["sub"], ROLES[role], float(claims["exp"]), key)


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 53


def subject_problem(subject: Any) -> str:
    """Why this can't be the name of a trader; empty if it can."""
    if not isinstance(subject, str) or not subject:
        return "sub is the trader's name"
    try:
        size = len(subject.encode())
    except UnicodeEncodeError:
        return "sub is text that UTF-8 can write"
    if size > MAX_SUBJECT_BYTES:
        return f"sub has at most {MAX_SUBJECT_BYTES} bytes, not {size}"
    return "" if subject.isprintable() else "sub has printable characters only"


def mint(private_key: Ed25519PrivateKey, subject: str, role: str, audience: str, lifetime: float, now: float) -> str:
    """A token for ``lifetime`` seconds from ``now`` (seconds since the epoch). Raises ValueError, naming what is wrong.

    ``role`` is trader, observer or admin; ``audience`` the group's name (by default its network's).
    """
    problem = subject_problem(subject)
    if problem:
        raise ValueError(problem)
    if role not in ROLES:
        raise ValueError(f"role is one of {', '.join(ROLES)}, not {role!r}")
    if not audience:
        raise ValueError("aud is the name of the group that the token is for")
    if not 1 <= lifetime <= MAX_LIFETIME_SECONDS:
        raise ValueError(f"a token lives for 1 second to ten years, not {lifetime:g} s")
    claims = {
        "sub": subject,
        "role": role,
        "aud": audience,
        "iat": int(now),
        "exp": int(now + lifetime),
    }
    return jwt.encode(claims, private_key, algorithm=ALGORITHM, headers={"kid": key_id(private_key.public_key())})


def public_jwks(keys: Iterable[Ed25519PublicKey | Ed25519PrivateKey]) -> str:
    """The JWKS of these keys, in the order of their ids: equal sets give equal text."""
    rows = {}
    for key in keys:
        public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
        rows[key_id(public)] = {
            "kty": "OKP",
            "crv": "Ed25519",
            "use": "sig",
            "alg": ALGORITHM,
            "kid": key_id(public),
            "x": _base64url(public.public_bytes_raw()),
        }
    return json.dumps({"keys": [rows[id] for id in sorted(rows)]}, indent=1) + "\n"


def key_id(key: Ed25519PublicKey) -> str:
    """The JWK thumbprint (RFC 7638) of a key, base64url."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(key.public_bytes_raw())}
    return _base64url(sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest())


def new_private_key() -> str:
    """A new signing key, as PEM (PKCS 8)."""
    return private_pem(Ed25519PrivateKey.generate())


def private_pem(key: Ed25519PrivateKey) -> str:
    encryption = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


def read_private_key(pem: str) -> Ed25519PrivateKey:
    """Raises ValueError if this is no unencrypted Ed25519 key in PEM."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("not an unencrypted private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")
    return key


def _key_from(row: Any, where: str) -> tuple[str, Ed25519PublicKey]:
    if not isinstance(row, dict) or row.get("kty") != "OKP" or row.get("crv") != "Ed25519":
        raise ValueError(f'{where}: only Ed25519 keys are taken: "kty": "OKP", "crv": "Ed25519"')
    if "d" in row:
        raise ValueError(f"{where}: this is a private key; nodes get the public ones")
    if row.get("alg", ALGORITHM) != ALGORITHM or row.get("use", "sig") != "sig":
        raise ValueError(f'{where}: "alg" is {ALGORITHM} and "use" is sig where they are given')
    x = row.get("x")
    try:
        key = Ed25519PublicKey.from_public_bytes(_from_base64url(x if isinstance(x, str) else ""))
    except ValueError as error:
        raise ValueError(f'{where}: "x" is no Ed25519 public key in base64url') from error
    id = row.get("kid", key_id(key))
    if not isinstance(id, str) or not 1 <= len(id) <= 256:
        raise ValueError(f'{where}: "kid" is a name of 1 to 256 characters')
    return id, key


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
