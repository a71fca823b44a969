"""Who asks: every request and every WebSocket of clients comes through one of these before anything else looks at it.

``TokenAccess``: a JWT in ``Authorization: Bearer``, or, for browsers, whose WebSockets can't set headers, as a
subprotocol ``bearer.<token>`` beside the one that is wanted. Nothing ambient counts (no cookies, no addresses), so that
no web page can act in a user's name.

``OpenAccess``: everyone is an admin. What a browser sends from a page of another site is refused by what it says of
itself (Fetch Metadata, Origin), and on loopback every Host but this machine's own names, which keeps names that are
rebound to 127.0.0.1 out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from aiohttp import web

from orderbook.server.api_errors import ApiError
from orderbook.tokens import Claims, Refusal, TokenKeys, TokenRefused
from orderbook.wire.feed_frames import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL
from orderbook.wire.order_frames import SUBPROTOCOL
from orderbook.wire.roles import Role

BEARER_SUBPROTOCOL = "bearer."
ANONYMOUS = "anonymous"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
KEY_DROPPED = "token_key_dropped"
_REALM = 'Bearer realm="orderbook"'
_SUBPROTOCOLS = {SUBPROTOCOL, MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL}
_MAX_REMEMBERED = 1024
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Grant(NamedTuple):
    """``name`` is the trader that the holder acts as. ``expires`` in seconds since the epoch; None: with the process.
    ``key`` is the id of the key that signed, if one did."""

    name: str
    role: Role
    expires: float | None = None
    key: str = ""


class Access(Protocol):
    mode: Literal["none", "tokens"]

    def grant(self, request: web.Request) -> Grant:
        """Raises ApiError."""
        ...

    def why_over(self, grant: Grant) -> str:
        """The reason why what was granted holds no longer; empty while it does."""
        ...

    def forbidden(self, message: str) -> ApiError:
        """The answer to whoever may not do what it asks for."""
        ...


class OpenAccess:
    """``loopback``: it listens on this machine's own addresses, so that only these names lead there honestly."""

    mode: Literal["none", "tokens"] = "none"

    def __init__(self, *, loopback: bool = False) -> None:
        self._loopback = loopback

    def grant(self, request: web.Request) -> Grant:
        if self._loopback and _host(request.host) not in LOCAL_NAMES:
            raise self.forbidden(f"the Host of a request to this node is one of {', '.join(LOCAL_NAMES)}")
        if request.method not in _SAFE_METHODS or "Upgrade" in request.headers:
            site = request.headers.get("Sec-Fetch-Site", "none")
            origin = request.headers.get("Origin")
            if site not in ("none", "same-origin") or (origin is not None and urlsplit(origin).netloc != request.host):
                raise self.forbidden("a page of another site may not do this")
        return Grant("admin", Role.ADMIN)

    def why_over(self, grant: Grant) -> str:
        return ""

    def forbidden(self, message: str) -> ApiError:
        return ApiError(403, "forbidden", message, reason="not_permitted")


class TokenAccess:
    """``refused`` counts by reason. ``keys`` may be replaced at any time. ``now`` in seconds since the epoch."""

    mode: Literal["none", "tokens"] = "tokens"

    def __init__(
        self, keys: TokenKeys, audience: str, now: Callable[[], float], anonymous: Literal["none", "observer"] = "none"
    ) -> None:
        self.refused = dict.fromkeys(Refusal, 0)
        self._keys = keys
        self._audience = audience
        self._now = now
        self._anonymous = anonymous
        self._proven: dict[str, Claims] = {}  # tokens whose signature was looked at under these keys

    @property
    def keys(self) -> TokenKeys:
        return self._keys

    @keys.setter
    def keys(self, keys: TokenKeys) -> None:
        self._keys = keys
        self._proven.clear()

    def grant(self, request: web.Request) -> Grant:
        try:
            token = _token_of(request)
            if token is None and self._anonymous == "observer":
                return Grant(ANONYMOUS, Role.OBSERVER)
            claims = self._claims(token)
        except TokenRefused as refusal:
            self.refused[refusal.reason] += 1
            raise _unauthorized(refusal.reason, str(refusal)) from refusal
        return Grant(claims.subject, claims.role, claims.expires, claims.key)

    def why_over(self, grant: Grant) -> str:
        if grant.expires is None:
            return ""
        if grant.expires <= self._now():
            return Refusal.EXPIRED
        return "" if grant.key in self._keys else KEY_DROPPED

    def forbidden(self, message: str) -> ApiError:
        challenge = {"WWW-Authenticate": f'{_REALM}, error="insufficient_scope"'}
        return ApiError(403, "forbidden", message, challenge, reason="not_permitted")

    def _claims(self, token: str | None) -> Claims:
        """A signature is verified once; time goes on for those that were, too. Raises TokenRefused."""
        if token is None:
            raise TokenRefused(Refusal.MISSING, "this node wants a token: Authorization: Bearer <token>")
        claims = self._proven.get(token)
        if claims is not None and claims.expires > self._now():
            return claims
        claims = self._keys.verify(token, self._audience, self._now())
        if len(self._proven) >= _MAX_REMEMBERED:
            self._proven.clear()
        self._proven[token] = claims
        return claims


def _token_of(request: web.Request) -> str | None:
    """The one token of a request; None if there is none. Raises ApiError, TokenRefused."""
    headers = request.headers.getall("Authorization", [])
    offered = [
        part.strip() for text in request.headers.getall("Sec-WebSocket-Protocol", []) for part in text.split(",")
    ]
    bearers = [part.removeprefix(BEARER_SUBPROTOCOL) for part in offered if part.startswith(BEARER_SUBPROTOCOL)]
    if len(headers) + len(bearers) > 1:
        raise ApiError(400, "invalid_request", "a token is sent once, in one way")
    if bearers:
        if _SUBPROTOCOLS.isdisjoint(offered):
            known = ", ".join(sorted(_SUBPROTOCOLS))
            raise ApiError(400, "invalid_request", f"{BEARER_SUBPROTOCOL}<token> is offered beside one of {known}")
        return bearers[0]
    if not headers:
        return None
    scheme, _, token = headers[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenRefused(Refusal.MALFORMED, "Authorization is: Bearer <token>")
    return token.strip()


def _unauthorized(reason: Refusal, message: str) -> ApiError:
    """As RFC 6750 has it: no error code for a request that brought nothing."""
    quoted = message.replace('"', "'").encode("ascii", "replace").decode()
    told = _REALM if reason is Refusal.MISSING else f'{_REALM}, error="invalid_token", error_description="{quoted}"'
    return ApiError(401, "unauthorized", message, {"WWW-Authenticate": told}, reason=reason.value)


def _host(host: str) -> str:
    return (urlsplit(f"//{host}").hostname or "").lower()
