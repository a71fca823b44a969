"""Tokens: what is proven, what is refused and as what."""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from orderbook import tokens
from orderbook.tokens import Refusal, TokenKeys, TokenRefused, key_id, mint, public_jwks
from orderbook.wire.roles import Role

NOW = 1_800_000_000.0
KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
KEYS = TokenKeys.parse(public_jwks([KEY]))
CLAIMS = {"sub": "alice", "role": "trader", "aud": "g", "exp": NOW + 60}


def signed(claims: dict[str, Any], key: Any = KEY, algorithm: str = "EdDSA", **headers: Any) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": key_id(KEY.public_key()), **headers})


def refused(token: str, keys: TokenKeys = KEYS) -> Refusal:
    with pytest.raises(TokenRefused) as raised:
        keys.verify(token, "g", NOW)
    assert token not in str(raised.value)
    return raised.value.reason


@pytest.mark.parametrize("role", ["trader", "observer", "admin"])
def test_what_is_minted_is_proven(role: str) -> None:
    claims = KEYS.verify(mint(KEY, "alice", role, "g", 60, NOW), "g", NOW)
    assert claims == ("alice", Role[role.upper()], NOW + 60, key_id(KEY.public_key()))


def test_it_ends_to_the_second() -> None:
    token = mint(KEY, "alice", "trader", "g", 60, NOW)
    assert KEYS.verify(token, "g", NOW + 59.9).subject == "alice"
    with pytest.raises(TokenRefused, match="expired"):
        KEYS.verify(token, "g", NOW + 60)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": None}, Refusal.WRONG_CLAIMS),
        ({"exp": "soon"}, Refusal.WRONG_CLAIMS),
        ({"exp": True}, Refusal.WRONG_CLAIMS),
        ({"exp": NOW}, Refusal.EXPIRED),
        ({"nbf": NOW + 11}, Refusal.NOT_YET_VALID),
        ({"iat": NOW + 11}, Refusal.NOT_YET_VALID),
        ({"aud": "another"}, Refusal.WRONG_AUDIENCE),
        ({"aud": None}, Refusal.WRONG_AUDIENCE),
        ({"aud": ["another", "h"]}, Refusal.WRONG_AUDIENCE),
        ({"sub": None}, Refusal.WRONG_CLAIMS),
        ({"sub": ""}, Refusal.WRONG_CLAIMS),
        ({"sub": "é" * 129}, Refusal.WRONG_CLAIMS),
        ({"sub": "a\nb"}, Refusal.WRONG_CLAIMS),
        ({"role": None}, Refusal.WRONG_CLAIMS),
        ({"role": "root"}, Refusal.WRONG_CLAIMS),
        ({"role": ["admin"]}, Refusal.WRONG_CLAIMS),
    ],
)
def test_claims_that_are_refused(changed: dict[str, Any], reason: Refusal) -> None:
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    assert refused(signed(claims)) is reason


def test_the_limit_of_the_subject_is_named() -> None:
    with pytest.raises(TokenRefused, match="at most 256 bytes, not 258"):
        KEYS.verify(signed({**CLAIMS, "sub": "é" * 129}), "g", NOW)
    assert KEYS.verify(signed({**CLAIMS, "sub": "é" * 128}), "g", NOW).subject == "é" * 128


@pytest.mark.parametrize("changed", [{"nbf": NOW + 9}, {"iat": NOW + 9}, {"aud": ["x", "g"]}])
def test_claims_that_are_taken(changed: dict[str, Any]) -> None:
    assert KEYS.verify(signed({**CLAIMS, **changed}), "g", NOW).subject == "alice"


def test_no_algorithm_but_one() -> None:
    assert refused(signed(CLAIMS, key=None, algorithm="none")) is Refusal.MALFORMED
    assert refused(confused("HS256")) is Refusal.MALFORMED
    assert refused(confused("EdDSA")) is Refusal.BAD_SIGNATURE


def confused(algorithm: str) -> str:
    """An HMAC under the public key, which everybody knows."""
    kid = key_id(KEY.public_key())
    parts = [json.dumps({"alg": algorithm, "kid": kid, "typ": "JWT"}).encode(), json.dumps(CLAIMS).encode()]
    body = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    mac = hmac.new(KEY.public_key().public_bytes_raw(), body, sha256).digest()
    return (body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def test_the_key_that_kid_names_and_no_other() -> None:
    both = TokenKeys.parse(public_jwks([KEY, OTHER]))
    assert refused(signed(CLAIMS, OTHER), both) is Refusal.BAD_SIGNATURE
    assert refused(signed(CLAIMS, OTHER, kid=key_id(OTHER.public_key()))) is Refusal.UNKNOWN_KEY
    assert refused(signed(CLAIMS, kid="")) is Refusal.UNKNOWN_KEY
    assert both.verify(signed(CLAIMS, OTHER, kid=key_id(OTHER.public_key())), "g", NOW).subject == "alice"


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_what_is_no_token_at_all(text: str) -> None:
    assert refused("x" + text) in (Refusal.MALFORMED, Refusal.UNKNOWN_KEY)


@given(st.integers(min_value=0, max_value=293), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_token_with_one_other_character(place: int, character: str) -> None:
    token = mint(KEY, "alice", "trader", "g", 60, NOW)
    place %= len(token)
    altered = token[:place] + character + token[place + 1 :]
    try:
        claims = KEYS.verify(altered, "g", NOW)
    except TokenRefused:
        return
    assert claims.subject == "alice"  # the last character of a part may hold bits that mean nothing


def test_a_token_that_is_too_long() -> None:
    assert refused("a" * (tokens.MAX_TOKEN_BYTES + 1)) is Refusal.MALFORMED


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("", "trader", "g", 60), "sub is the trader's name"),
        (("a" * 257, "trader", "g", 60), "at most 256 bytes"),
        (("a", "root", "g", 60), "role is one of trader, observer, admin, not 'root'"),
        (("a", "trader", "", 60), "aud is the name"),
        (("a", "trader", "g", 0), "1 second to ten years, not 0 s"),
    ],
)
def test_what_is_not_minted(arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        mint(KEY, *arguments, NOW)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_set_is_the_same_text_whatever_the_order() -> None:
    assert public_jwks([KEY, OTHER]) == public_jwks([OTHER.public_key(), KEY])


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    text = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})
    assert TokenKeys.parse(text).ids == ("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",)


def row(**changed: Any) -> dict[str, Any]:
    whole = {**json.loads(public_jwks([KEY]))["keys"][0], **changed}
    return {name: value for name, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{", "not JSON"),
        ("[]", "a JWKS is"),
        ('{"keys": []}', "1 to 16 keys"),
        (json.dumps({"keys": [row(), row()]}), r"keys\[1\]: the kid .* is there twice"),
        (json.dumps({"keys": [row(kty="RSA")]}), r"keys\[0\]: only Ed25519"),
        (json.dumps({"keys": [row(crv="Ed448")]}), r"keys\[0\]: only Ed25519"),
        (json.dumps({"keys": [row(d="secret")]}), "this is a private key"),
        (json.dumps({"keys": [row(alg="HS256")]}), '"alg" is EdDSA'),
        (json.dumps({"keys": [row(x="AAAA")]}), '"x" is no Ed25519 public key'),
        (json.dumps({"keys": [row(x=None)]}), '"x" is no Ed25519 public key'),
        (json.dumps({"keys": [row(kid="")]}), '"kid" is a name'),
    ],
)
def test_what_is_no_key_set(document: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TokenKeys.parse(document)


def test_private_keys() -> None:
    pem = tokens.new_private_key()
    assert tokens.private_pem(tokens.read_private_key(pem)) == pem
    for text in ("", "x", "-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(ValueError, match="not an unencrypted private key"):
            tokens.read_private_key(text)
