"""Reading msgpack as the group agreed on: every option said, and a check that this library means the same by it.

Bytes of the log and of snapshots must decode to equal values, or be refused, on every node and for as long as they are
kept, whichever version of msgpack a node has. What a version may choose to change is therefore said here and not left
to its defaults; what no option says (how deep arrays may be nested, what is no timestamp, whether bytes may follow) is
held to ``VECTORS`` by ``check_decoder``, which a node asks before it opens its directory.

Decoded are nil, booleans, 64-bit integers, floats, strings of valid UTF-8, byte strings, arrays up to 1,024 deep, maps
with keys of strings or bytes (of equal keys the last counts), and timestamps as ``msgpack.Timestamp``, which no format
of ours takes. Other extension types are refused.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import msgpack

MAX_DEPTH: Final = 1024  # of arrays and maps in each other
_REFUSED: Final = "refused"


class DecoderDiffers(Exception):
    """The msgpack of this node decodes bytes otherwise than the group does: it must not take part."""


def _no_extension(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code} is not allowed")


def unpack(data: bytes, *, arrays: type[list[Any]] | type[tuple[Any, ...]] = list) -> Any:
    """The one value that ``data`` is, arrays as lists or tuples. Raises ValueError and others for what is refused."""
    return msgpack.unpackb(
        data,
        raw=False,
        use_list=arrays is list,
        timestamp=0,
        strict_map_key=True,
        unicode_errors="strict",
        object_hook=None,
        object_pairs_hook=None,
        list_hook=None,
        ext_hook=_no_extension,
    )


def check_decoder() -> None:
    """Raises DecoderDiffers that names the bytes and what this version of msgpack makes of them."""
    for data, expected in VECTORS:
        found = _outcome(data)
        if found != expected:
            shown = data.hex() if len(data) <= 40 else f"{data[:20].hex()}... ({len(data)} bytes)"
            raise DecoderDiffers(
                f"msgpack {'.'.join(map(str, msgpack.version))} ({msgpack.Unpacker.__module__}) decodes {shown} as "
                f"{found:.80}, not as {expected:.80}: install a version that does, with its compiled extension"
            )


def _outcome(data: bytes) -> str:
    """What becomes of some bytes, in words: values of one type only are equal."""
    try:
        value = unpack(data, arrays=tuple)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whichever error: it is refused
        return _REFUSED
    return _in_words(value)


def _in_words(value: Any) -> str:
    depth = 0
    while type(value) is tuple and len(value) == 1:
        depth, value = depth + 1, value[0]
    return f"{depth} deep: {value!r}" if depth > 1 else repr((value,)) if depth else repr(value)


VECTORS: Final[tuple[tuple[bytes, str], ...]] = (
    # integers: every width, also where a shorter one would do
    (b"\x00", "0"),
    (b"\xcc\x01", "1"),
    (b"\xcd\x00\x01", "1"),
    (b"\xce\x00\x00\x00\x01", "1"),
    (b"\xcf" + b"\xff" * 8, "18446744073709551615"),
    (b"\xff", "-1"),
    (b"\xd0\x80", "-128"),
    (b"\xd3\x80" + bytes(7), "-9223372036854775808"),
    # floats stay floats
    (b"\xca\x3f\x80\x00\x00", "1.0"),
    (b"\xcb\x3f\xf0" + bytes(6), "1.0"),
    (b"\xcb\x80" + bytes(7), "-0.0"),
    (b"\xcb\x7f\xf0" + bytes(6), "inf"),
    (b"\xcb\x7f\xf8" + bytes(6), "nan"),
    (b"\xc0", "None"),
    (b"\xc2", "False"),
    (b"\xc3", "True"),
    (b"\xc1", _REFUSED),
    # strings are valid UTF-8, also half of a surrogate pair is not; byte strings are byte strings
    (b"\xa0", "''"),
    (b"\xd9\x01a", "'a'"),
    (b"\xa2\xc3\xa9", "'\u00e9'"),
    (b"\xa1\x00", "'\\x00'"),
    (b"\xa1\xff", _REFUSED),
    (b"\xa2\xc0\x80", _REFUSED),
    (b"\xa3\xed\xa0\x80", _REFUSED),
    (b"\xa4\xf4\x90\x80\x80", _REFUSED),
    (b"\xc4\x01\xff", "b'\\xff'"),
    # arrays, and how deep
    (b"\x90", "()"),
    (b"\x92\x01\x90", "(1, ())"),
    (b"\xdc\x00\x01\x01", "(1,)"),
    (b"\xdd\xff\xff\xff\xff", _REFUSED),
    (b"\x91" * MAX_DEPTH + b"\x01", f"{MAX_DEPTH} deep: 1"),
    (b"\x91" * (MAX_DEPTH + 1) + b"\x01", _REFUSED),
    (b"\x81\xa1a" * (MAX_DEPTH + 1) + b"\x01", _REFUSED),
    # maps: keys are strings or bytes, the last of equal ones counts
    (b"\x80", "{}"),
    (b"\x82\xa1a\x01\xa1a\x02", "{'a': 2}"),
    (b"\x82\xa1b\x01\xa1a\x02", "{'b': 1, 'a': 2}"),
    (b"\x82\xa1a\x01\xc4\x01a\x02", "{'a': 1, b'a': 2}"),
    (b"\x81\x01\x02", _REFUSED),
    (b"\x81\xc0\x02", _REFUSED),
    (b"\x81\xc3\x02", _REFUSED),
    (b"\x81\x91\x01\x02", _REFUSED),
    # extension types; a timestamp is one that the library knows
    (b"\xd4\x01a", _REFUSED),
    (b"\xc7\x00\x05", _REFUSED),
    (b"\xd6\xff\x00\x00\x00\x01", "Timestamp(seconds=1, nanoseconds=0)"),
    (b"\xd4\xff\x00", _REFUSED),
    (b"\xd7\xff\xff\xff\xff\xff\x00\x00\x00\x00", _REFUSED),
    # nothing is missing, nothing follows
    (b"", _REFUSED),
    (b"\x91", _REFUSED),
    (b"\xa2a", _REFUSED),
    (b"\xdb\xff\xff\xff\xffa", _REFUSED),
    (b"\x90\x90", _REFUSED),
    (b"\x01\xc1", _REFUSED),
)
