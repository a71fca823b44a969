import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.wire.frames import FIELDS, FrameKind, MalformedFrame, pack_frame, unpack_frame

INCARNATION = b"i" * 16
SAMPLES = {
    FrameKind.ANNOUNCE: (["a", 1],),
    FrameKind.RAFT: (123, 1, None, [[1, 2]]),
    FrameKind.PROPOSE: ([b"x"],),
    FrameKind.PROPOSED: ([[1, 2, 3]],),
    FrameKind.SNAPSHOT_CHUNK: ([1, 2], 0, b"x"),
    FrameKind.SNAPSHOT_PROGRESS: (1, 2, None),
    FrameKind.LOG_END_WANTED: (),
    FrameKind.LOG_END: (3, 4),
}


@pytest.mark.parametrize("kind", list(FrameKind))
def test_each_kind_comes_back_as_it_was_packed(kind):
    frame = unpack_frame(pack_frame(kind, INCARNATION, 4, 5, *SAMPLES[kind]))
    assert frame == (kind, INCARNATION, 4, 5, SAMPLES[kind])


def test_a_later_version_may_append_fields_and_kinds():
    assert unpack_frame(msgpack.packb([99, INCARNATION, 1, 2, "news"])) is None
    frame = unpack_frame(pack_frame(FrameKind.PROPOSE, INCARNATION, 4, 5, [1], "news"))
    assert frame is not None
    assert frame.fields[0] == [1]


@pytest.mark.parametrize("kind", [kind for kind in FrameKind if FIELDS[kind]])
def test_a_missing_or_wrong_field_names_the_kind(kind):
    with pytest.raises(MalformedFrame, match=kind.name):
        unpack_frame(pack_frame(kind, INCARNATION, 4, 5, *SAMPLES[kind][:-1]))
    wrong = [object.__class__.__name__ if allowed is not str else 5 for allowed in FIELDS[kind]]
    with pytest.raises(MalformedFrame, match=kind.name):
        unpack_frame(pack_frame(kind, INCARNATION, 4, 5, *wrong))


@pytest.mark.parametrize(
    "values", [[], 5, [1, INCARNATION, 1], ["x", INCARNATION, 1, 2], [2, b"short", 1, 2], [2, INCARNATION, -1, 2]]
)
def test_a_bad_front_is_refused(values):
    with pytest.raises(MalformedFrame):
        unpack_frame(msgpack.packb(values))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_a_named_error(data):
    try:
        frame = unpack_frame(data)
    except MalformedFrame:
        return
    assert frame is None or frame.kind in list(FrameKind)
