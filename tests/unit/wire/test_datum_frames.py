import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderbook.wire.datum_frames import (
    FIELDS,
    DatumFrameKind,
    MalformedDatumFrame,
    pack_datum_frame,
    unpack_datum_frame,
)

SAMPLES = {
    DatumFrameKind.OFFER: [7, "Order"],
    DatumFrameKind.WITHDRAW: [7],
    DatumFrameKind.SUBSCRIBE: [7, 3],
    DatumFrameKind.UNSUBSCRIBE: [7, 3, "closed"],
    DatumFrameKind.DATUM: [7, 3, 1, b"bytes"],
    DatumFrameKind.END: [7, 3, "slow_consumer"],
    DatumFrameKind.SUBSCRIBED: [7, 3],
}


@pytest.mark.parametrize("kind", list(DatumFrameKind))
def test_each_kind_comes_back_as_packed_and_what_a_later_version_appends_is_ignored(kind):
    assert unpack_datum_frame(pack_datum_frame(kind, *SAMPLES[kind])) == [kind, *SAMPLES[kind]]
    assert unpack_datum_frame(pack_datum_frame(kind, *SAMPLES[kind], "news")) == [kind, *SAMPLES[kind]]
    assert unpack_datum_frame(msgpack.packb([99, "news"])) is None


@pytest.mark.parametrize("kind", list(DatumFrameKind))
def test_a_missing_or_wrong_field_names_the_kind(kind):
    with pytest.raises(MalformedDatumFrame, match=kind.name):
        unpack_datum_frame(pack_datum_frame(kind, *SAMPLES[kind][:-1]))
    for position in range(len(FIELDS[kind])):
        for wrong in (None, -1, True, "x" * 257):
            fields = list(SAMPLES[kind])
            fields[position] = wrong
            with pytest.raises(MalformedDatumFrame, match=f"field {position} of {kind.name}"):
                unpack_datum_frame(pack_datum_frame(kind, *fields))


@pytest.mark.parametrize("value", [[], 5, ["x"], [True], None, {}])
def test_what_is_no_frame_is_refused(value):
    with pytest.raises(MalformedDatumFrame):
        unpack_datum_frame(msgpack.packb(value))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_named_error(data):
    try:
        frame = unpack_datum_frame(data)
    except MalformedDatumFrame:
        return
    assert frame is None or frame[0] in list(DatumFrameKind)
