import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderbook.network.framing import MAX_CHANNEL, MAX_FRAME_BYTES, MalformedMessage, pack_header, records

RECORDS = st.lists(st.tuples(st.integers(0, MAX_CHANNEL), st.binary(max_size=40)), min_size=1, max_size=5)


def join(pairs):
    return b"".join(pack_header(len(body), channel) + body for channel, body in pairs)


@settings(deadline=None)
@given(RECORDS)
def test_what_was_joined_comes_apart_again(pairs):
    assert list(records(join(pairs))) == pairs


@settings(deadline=None)
@given(RECORDS, st.data())
def test_a_message_that_was_cut_is_malformed_unless_cut_between_records(pairs, data):
    message = join(pairs)
    cut = data.draw(st.integers(0, len(message) - 1))
    borders = [len(join(pairs[:count])) for count in range(1, len(pairs))]
    if cut in borders:
        assert list(records(message[:cut])) == pairs[: borders.index(cut) + 1]
    else:
        with pytest.raises(MalformedMessage):
            list(records(message[:cut]))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_a_named_error(data):
    try:
        found = list(records(data))
    except MalformedMessage as error:
        assert str(error)
    else:
        assert join(found) == data


def test_records_before_a_bad_one_are_yielded():
    arriving = records(join([(1, b"good")]) + b"bad")
    assert next(arriving) == (1, b"good")
    with pytest.raises(MalformedMessage, match="3 bytes behind the last record"):
        next(arriving)


def test_a_length_above_the_limit_names_the_limit():
    with pytest.raises(MalformedMessage, match=f"a frame of {MAX_FRAME_BYTES + 1} bytes; at most {MAX_FRAME_BYTES}"):
        list(records(pack_header(MAX_FRAME_BYTES + 1, 1)))
