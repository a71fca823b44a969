"""Tokens of tests: a key of their own, and what it signs."""

from __future__ import annotations

import time

from orderbook.server.access import TokenAccess
from orderbook.tokens import TokenKeys, mint, new_private_key, public_jwks, read_private_key

AUDIENCE = "the exchange"


class Minter:
    """Signs with one key; ``jwks`` is what a node needs to know."""

    def __init__(self, audience: str = AUDIENCE) -> None:
        self.key = read_private_key(new_private_key())
        self.jwks = public_jwks([self.key])
        self.audience = audience

    def token(self, role: str, subject: str, lifetime: float = 3600.0, now: float | None = None) -> str:
        return mint(self.key, subject, role, self.audience, lifetime, time.time() if now is None else now)

    def header(self, role: str, subject: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(role, subject)}"}

    def access(self, anonymous: str = "none") -> TokenAccess:
        return TokenAccess(TokenKeys.parse(self.jwks), self.audience, time.time, anonymous)  # type: ignore[arg-type]
