import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.wire.feed_frames import FIELDS, FeedFrameKind, MalformedFeedFrame, pack_feed_frame, unpack_feed_frame

SAMPLES = {
    FeedFrameKind.SUBSCRIBED: [b"i" * 16, 7, 3],
    FeedFrameKind.EVENTS: [7, 1_000, [[0, [1, 0, "x"]], [4, [3, 1]]], False],
    FeedFrameKind.BOOK: ["ETH/USDC", [[10, 5, 1]], []],
    FeedFrameKind.LEVELS: [7, 1_000, [["ETH/USDC", 1, 10, -5, -1]]],
    FeedFrameKind.MARK: [8],
    FeedFrameKind.GAP: [4],
    FeedFrameKind.RESET: [b"i" * 16, 4],
}


@pytest.mark.parametrize("kind", list(FeedFrameKind))
def test_each_kind_comes_back_as_packed_and_may_grow(kind):
    assert unpack_feed_frame(pack_feed_frame(kind, *SAMPLES[kind])) == [kind, *SAMPLES[kind]]
    assert unpack_feed_frame(pack_feed_frame(kind, *SAMPLES[kind], "news")) == [kind, *SAMPLES[kind], "news"]


def test_a_kind_of_a_later_version_is_ignored():
    assert unpack_feed_frame(msgpack.packb([99, "news"])) is None


@pytest.mark.parametrize("kind", list(FeedFrameKind))
def test_a_missing_or_wrong_field_names_the_kind(kind):
    with pytest.raises(MalformedFeedFrame, match=kind.name):
        unpack_feed_frame(pack_feed_frame(kind, *SAMPLES[kind][:-1]))
    for position, wanted in enumerate(FIELDS[kind]):
        for wrong in (None, -1, 1.5):
            fields = list(SAMPLES[kind])
            fields[position] = wrong
            with pytest.raises(MalformedFeedFrame, match=f"field {position} of {kind.name}"):
                unpack_feed_frame(pack_feed_frame(kind, *fields))
        assert wanted in (int, str, bytes, list, bool)


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (FeedFrameKind.EVENTS, []),
        (FeedFrameKind.EVENTS, [5]),
        (FeedFrameKind.EVENTS, [[0, []]]),
        (FeedFrameKind.EVENTS, [[1, [1]], [1, [1]]]),
        (FeedFrameKind.EVENTS, [["0", [1]]]),
        (FeedFrameKind.LEVELS, [["ETH/USDC", 1, 10, -5]]),
        (FeedFrameKind.LEVELS, [["ETH/USDC", 1, 10, -5, True]]),
    ],
)
def test_bad_rows_are_refused(kind, rows):
    with pytest.raises(MalformedFeedFrame, match="row"):
        unpack_feed_frame(pack_feed_frame(kind, 1, 1, rows, False))


def test_bad_rows_of_a_book_are_refused():
    for bids, asks in (([[1, 2]], []), ([], [[1, 2, "3"]])):
        with pytest.raises(MalformedFeedFrame, match="row of BOOK"):
            unpack_feed_frame(pack_feed_frame(FeedFrameKind.BOOK, "ETH/USDC", bids, asks))


@pytest.mark.parametrize("value", [[], 5, ["x"], [True], None, {}])
def test_what_is_no_frame_is_refused(value):
    with pytest.raises(MalformedFeedFrame):
        unpack_feed_frame(msgpack.packb(value))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_named_error(data):
    try:
        frame = unpack_feed_frame(data)
    except MalformedFeedFrame:
        return
    assert frame is None or frame[0] in list(FeedFrameKind)
