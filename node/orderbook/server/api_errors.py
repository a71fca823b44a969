"""How /v1 says no: one shape, ``{"error": {"code", "message", ...}}``, and one place that chooses status and code.

======  =========================================================================================================
status  what it means
======  =========================================================================================================
400     the request is no request: ``problems`` names each field and what is allowed there; nothing was done
401     no valid token
403     the role may not do this
404     there is no such route, pair, order or member
405     the route has no such method
408     the body did not come in time; nothing was done
409     the change does not fit the present membership or leadership; ``reason`` says why
413     the body is larger than 1 MiB
415     the body is not declared as application/json
421     only the leader does this; ``leader`` names it
422     answered by the group, and refused: ``reason`` says why; nothing changed
500     a fault of this node
503     surely not done; ``reason`` says why; trying again is safe
504     uncertain: it may have been done; only a repeat under the same Idempotency-Key is safe
======  =========================================================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from orderbook.groups.administration import NotLeading, NotTransferred, SnapshotFailed, UnknownMember
from orderbook.groups.errors import NotBootstrapped, Refused, Unavailable, Uncertain
from orderbook.groups.recovery import RecoveryRefused
from orderbook.groups.sessions import Outcome
from orderbook.raft.errors import MembershipReason, MembershipRefused, TransferRefused
from orderbook.server.patterns import message_of

RETRY_AFTER = {"Retry-After": "1"}
MAX_PROBLEMS = 10

_logger = logging.getLogger("orderbook.http")
_NEVER_ALLOWED = (
    MembershipReason.NO_VOTERS,
    MembershipReason.INVALID_MEMBER,
    MembershipReason.DUPLICATE_NAME,
    MembershipReason.DUPLICATE_ID,
    MembershipReason.RENAMED,
)
_HTTP_CODES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """An answer that is an error. ``more`` holds the other keys of its document."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}
        self.more = more

    def response(self) -> web.Response:
        document = {"error": {"code": self.code, "message": str(self), **self.more}}
        return web.json_response(document, status=self.status, headers=self.headers)


def invalid(problems: Iterable[tuple[str, str]]) -> ApiError:
    """A request that is none. ``problems`` are (field, what is allowed there)."""
    found = [{"field": field, "message": message} for field, message in problems][:MAX_PROBLEMS]
    message = "; ".join(f"{problem['field']}: {problem['message']}" for problem in found)
    return ApiError(400, "invalid_request", message, problems=found)


def invalid_by(place: str, error: ValidationError) -> ApiError:
    """What pydantic found wrong with the part of a request that ``place`` names."""
    return invalid((_path(place, problem["loc"]), _sentence(problem)) for problem in error.errors()[:MAX_PROBLEMS])


def _path(place: str, location: tuple[int | str, ...]) -> str:
    return place + "".join(f"[{part}]" if isinstance(part, int) else f".{part[:80]}" for part in location)


def _sentence(problem: Any) -> str:
    message = message_of(problem)
    value = problem["input"]
    if problem["type"] != "missing" and isinstance(value, str | int | float) and len(str(value)[:50]) < 50:
        return f"{message}, not {value!a}"
    return message


def error_of(error: Exception) -> ApiError | None:
    """The answer to a request that ended in ``error``; None for what should not happen."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, NotBootstrapped):
        return ApiError(503, "unavailable", f"this node {error}", RETRY_AFTER, reason="not_online")
    if isinstance(error, Unavailable):
        return ApiError(503, "unavailable", _why(error.reason), RETRY_AFTER, reason=error.reason)
    if isinstance(error, Uncertain):
        return ApiError(504, "uncertain", f"it may have been done: {error}")
    if isinstance(error, Refused):
        return _refused(error)
    if isinstance(error, NotLeading):
        return ApiError(421, "not_leader", str(error), leader=error.leader)
    if isinstance(error, UnknownMember):
        return ApiError(404, "unknown_member", str(error))
    if isinstance(error, MembershipRefused):
        status = 422 if error.reason in _NEVER_ALLOWED else 409
        return ApiError(status, "membership_refused", error.sentence, reason=error.reason.value)
    if isinstance(error, TransferRefused):
        return ApiError(409, "transfer_refused", error.sentence, reason=error.reason.value)
    if isinstance(error, NotTransferred):
        return ApiError(409, "not_transferred", str(error), leader=error.leader)
    if isinstance(error, RecoveryRefused):
        return ApiError(409, "recovery_refused", str(error))
    if isinstance(error, SnapshotFailed):
        return ApiError(500, "snapshot_failed", str(error))
    return None


def _why(reason: str) -> str:
    return f"surely not done ({reason}); trying again is safe"


def _refused(error: Refused) -> ApiError:
    reason = error.outcome.name.lower()
    if error.outcome is Outcome.KEY_REUSED:
        message = f"this Idempotency-Key was used for another request, at index {error.detail}"
        return ApiError(422, "key_reused", message, reason=reason)
    if error.outcome is Outcome.NOT_PERMITTED:
        return ApiError(403, "forbidden", "the role may not do this", reason=reason)
    return ApiError(422, "refused", str(error), reason=reason)


def _of_http(error: web.HTTPException, request: web.Request) -> ApiError:
    """aiohttp's own refusals, in our shape."""
    code = _HTTP_CODES.get(error.status, "invalid_request")
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    if error.status == 413:
        return ApiError(413, code, "a body is at most 1 MiB")
    message = {404: "there is no such route", 405: f"this route takes {error.headers.get('Allow', 'no method')}"}
    return ApiError(error.status, code, message.get(error.status, error.reason), headers)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves in one shape; a fault of ours is logged with its trace and says nothing of it.

    An error and the frames that it passed hold each other. A node does not look for such circles: they are undone here.
    """
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        answer = _of_http(error, request).response()
        _forget_frames(error)
        return answer
    except Exception as error:
        if isinstance(error, ConnectionError) and request.transport is None:
            _forget_frames(error)
            return invalid([("body", "the client went away")]).response()  # nobody reads it
        known = error_of(error)
        if known is None:
            _logger.exception("%s %s failed", request.method, request.path)
            known = ApiError(500, "internal", "a fault of this node; its log says more")
        answer = known.response()
        _forget_frames(error)
        return answer


def _forget_frames(error: BaseException) -> None:
    """Of the error and of all that led to it."""
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one.__traceback__ is not None:
            one.__traceback__ = None
            left += [one.__cause__, one.__context__]
