import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.wire.order_frames import MalformedRequest, ReplyKind, RequestKind, pack, unpack_reply, unpack_request

REQUESTS = [
    (RequestKind.OPEN, (30_000, False)),
    (RequestKind.BATCH, (12, 1, 3, 0, b"body")),
    (RequestKind.KEEP_ALIVE, (12, 3)),
    (RequestKind.CLOSE, (12,)),
]


@pytest.mark.parametrize(("kind", "fields"), REQUESTS)
def test_requests_come_back_as_packed_and_may_grow(kind, fields):
    assert unpack_request(pack(kind, 9, *fields)) == [kind, 9, *fields]
    assert unpack_request(pack(kind, 9, *fields, "news"))[: 2 + len(fields)] == [kind, 9, *fields]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([9, 1], "kind is one of 1 \\(OPEN\\)"),
        ([2], "array"),
        ([2, -1, 1, 1, 1, 0, b""], "request is an integer"),
        ([2, 1, 1, 1], "BATCH has 5 fields"),
        ([2, 1, 1.5, 1, 1, 0, b""], "session is an integer"),
        ([2, 1, True, 1, 1, 0, b""], "session is an integer"),
        ([2, 1, 1, 1, 0, 0, b""], "commands is an integer from 1 to 4096"),
        ([2, 1, 1, 1, 5000, 0, b""], "commands is an integer from 1 to 4096"),
        ([2, 1, 1, 1, 1, 0, b"x" * 1_048_577], "body is at most 1048576 bytes"),
        ([2, 1, 1, 1, 1, 0, "text"], "body"),
        ([1, 1, 5, 1], "cancel_on_close is true or false"),
    ],
)
def test_a_bad_request_is_refused_with_the_field_and_what_is_allowed(values, says):
    with pytest.raises(MalformedRequest, match=says):
        unpack_request(msgpack.packb(values))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_named_error(data):
    try:
        values = unpack_request(data)
    except MalformedRequest:
        return
    assert values[0] in list(RequestKind)


def test_replies_come_back():
    assert unpack_reply(pack(ReplyKind.ANSWER, 4, 100, 2, [(1, 0)])) == [ReplyKind.ANSWER, 4, 100, 2, [[1, 0]]]
    with pytest.raises(ValueError, match="ANSWER"):
        unpack_reply(pack(ReplyKind.ANSWER, 4))
