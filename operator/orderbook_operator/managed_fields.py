"""Who owns which field of an object, as server-side apply keeps it in ``metadata.managedFields``. Pure.

An apply removes a field only if its manager owned it before and leaves it out now. What others set stays, so that it
would be ours to live with. Here the entries that hold what we don't want (``compare.is_foreign``) become part of our
own ``Apply`` entry; the apply that follows then removes it.

It is also how an object that was created by POST becomes an applied one: its entry is an ``Update``, and fields that
are dropped later would stay for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orderbook_operator.manifests.compare import is_foreign
from orderbook_operator.names import FIELD_MANAGER

Entry = Mapping[str, Any]


def reclaimed(entries: Iterable[Entry], api_version: str) -> list[Entry]:
    """The same fields, with ours and what is foreign in one Apply entry of ours. Harmless entries stay as they are."""
    merged: dict[str, Any] = {}
    kept: list[Entry] = []
    for entry in entries:
        is_ours = entry.get("manager") == FIELD_MANAGER and not entry.get("subresource")
        if is_ours or is_foreign(entry):
            _merge(merged, entry.get("fieldsV1") or {})
        else:
            kept.append(entry)
    if not merged:
        return kept
    own = {
        "manager": FIELD_MANAGER,
        "operation": "Apply",
        "apiVersion": api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": merged,
    }
    return [own, *kept]


def _merge(into: dict[str, Any], fields: Mapping[str, Any]) -> None:
    """A set of fields is a tree of names; the union of two is the union of their branches."""
    for name, below in fields.items():
        _merge(into.setdefault(name, {}), below)
