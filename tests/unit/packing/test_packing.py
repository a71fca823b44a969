"""What bytes of the log mean: the same under every version of msgpack, or the node does not take part."""

import os
import subprocess
import sys

import msgpack
import pytest

from orderbook import packing
from orderbook.packing import VECTORS, DecoderDiffers, check_decoder, unpack


def shown(data: bytes) -> str:
    return data.hex() if len(data) < 20 else f"{data[:8].hex()} x{len(data)}"


@pytest.mark.parametrize(("data", "expected"), VECTORS, ids=[shown(data) for data, _ in VECTORS])
def test_these_bytes_mean_this(data: bytes, expected: str) -> None:
    assert packing._outcome(data) == expected


def test_this_version_of_msgpack_may_take_part() -> None:
    check_decoder()


def test_arrays_come_as_what_is_asked_for() -> None:
    data = msgpack.packb([1, [2, {"a": [3]}]])
    assert unpack(data) == [1, [2, {"a": [3]}]]
    assert unpack(data, arrays=tuple) == (1, (2, {"a": (3,)}))


def test_a_decoder_that_differs_is_named_with_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = msgpack.unpackb
    monkeypatch.setattr(packing.msgpack, "unpackb", lambda data, **options: real(data, **{**options, "raw": True}))
    with pytest.raises(DecoderDiffers, match=r"msgpack \d+\..* decodes a0 as b'', not as ''"):
        check_decoder()


def test_msgpack_without_its_compiled_extension_nests_otherwise_and_is_refused() -> None:
    script = "from orderbook.packing import check_decoder; check_decoder()"
    environment = {**os.environ, "MSGPACK_PUREPYTHON": "1"}
    ended = subprocess.run([sys.executable, "-c", script], check=False, env=environment, capture_output=True, text=True)
    assert ended.returncode != 0
    assert "DecoderDiffers" in ended.stderr
    assert "msgpack.fallback" in ended.stderr
