"""What the regular expressions of requests and of the configuration mean, told to whoever sent a wrong value."""

from __future__ import annotations

from typing import Any

ASSET = r"^[A-Za-z0-9._-]{1,32}$"
PAIR = r"^[A-Za-z0-9._-]{1,32}/[A-Za-z0-9._-]{1,32}$"
DECIMAL = r"^[0-9]+(\.[0-9]+)?$"
MEMBER_ID = r"^[1-9][0-9]{0,18}$"
PLACE = r"^[0-9]{1,16},[0-9]{1,16}$"
SEQUENCE = r"^[0-9]{1,18},[0-9]{1,18}$"
NODE_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
INCARNATION = r"^([0-9a-f]{32})?$"

MEANINGS = {
    ASSET: "an asset is 1 to 32 of A-Z a-z 0-9 . _ -",
    PAIR: "a pair is BASE/QUOTE, each 1 to 32 of A-Z a-z 0-9 . _ -",
    DECIMAL: "a decimal is digits, with a point and more digits where it has a fraction",
    MEMBER_ID: "a whole number from 1 to 2^63-1 is allowed",
    PLACE: "an id and an arrival are allowed, as id,arrival",
    SEQUENCE: "a sequence is allowed, as index,ordinal",
    NODE_NAME: "lower-case letters, digits, - and . are allowed, with a letter or digit at both ends",
    INCARNATION: "32 hexadecimal digits in lower case are allowed, or nothing",
}


def message_of(problem: Any) -> str:
    """What a problem of pydantic's says, in words."""
    context = problem.get("ctx", {})
    if problem["type"] == "string_pattern_mismatch":
        return MEANINGS[context["pattern"]]
    if problem["type"] == "union_tag_not_found":
        return f"{context['discriminator']} is missing"
    if problem["type"] == "union_tag_invalid":
        return f"{context['discriminator']} is one of {context['expected_tags']}, not '{context['tag']:.40}'"
    return str(problem["msg"]).removeprefix("Value error, ")
