"""What has become of an object that the operator applied: does it still say what we mean, and only that?

Three questions, none of which needs to know what the API server fills in by itself:

1. Is all that we mean there? The desired manifest must be a part of the live one: maps by their keys, lists that
   Kubernetes merges by the fields that tell their items apart, other lists item by item, quantities by value.
2. Have we left something behind? A field that our own entry of managedFields holds, and that we no longer mean.
3. Has somebody else put something in? A field below ``spec`` in another manager's entry. Our own entries of another
   operation (a POST before the first apply) count as others': an apply doesn't remove what they hold.

An apply mends 1 and 2. It leaves 3 where it is: those managers must be named, and their fields reclaimed first.

Harmless: the status subresource; labels, annotations and finalizers that others add and we don't mean (``kubectl
annotate``, a cloud's load balancer); anything outside of ``spec``, such as the Secrets that some clusters add to a
ServiceAccount. A value of ours that they changed is found by 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kubernetes.utils.quantity import parse_quantity

from orderbook_operator.names import FIELD_MANAGER
from orderbook_operator.observation import Manifest

# Fields by which Kubernetes tells the items of a list apart, most telling first. Lists that aren't here are atomic.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port", "protocol"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
_ATOMIC_BELOW = ("ingress", "volumeClaimTemplates")  # within these no list is merged
_QUANTITIES_BELOW = ("requests", "limits")

Path = tuple[str, ...]


class Drift(NamedTuple):
    """``fields``: paths that differ, such as ``spec.template.spec.containers[node].image``. ``foreign_managers``: whose
    fields must be reclaimed before an apply can mend it."""

    fields: tuple[str, ...]
    foreign_managers: tuple[str, ...]


def drift(desired: Manifest, live: Manifest) -> Drift | None:
    """None if the live object says what ``desired`` does and nothing that others put in."""
    entries = live.get("metadata", {}).get("managedFields", ())
    ours = [entry for entry in entries if _is_ours(entry)]
    others = {_manager(entry): tuple(_held(entry)) for entry in entries if not _is_ours(entry)}
    left_behind = (path for entry in ours for path in _left_behind(entry.get("fieldsV1", {}), desired, ()))
    fields = {*_missing(desired, live, ()), *left_behind, *(path for held in others.values() for path in held)}
    managers = tuple(sorted(manager for manager, held in others.items() if held))
    return Drift(tuple(sorted(fields)), managers) if fields else None


def is_foreign(entry: Mapping[str, Any]) -> bool:
    """An entry of managedFields with fields that must be reclaimed."""
    return not _is_ours(entry) and any(True for _ in _held(entry))


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return (entry.get("manager"), entry.get("operation"), entry.get("subresource", "")) == (FIELD_MANAGER, "Apply", "")


def _manager(entry: Mapping[str, Any]) -> str:
    by = f"{entry.get('manager', 'unknown')} ({entry.get('operation', 'Update')})"
    return f"{by}/{entry['subresource']}" if entry.get("subresource") else by


# --- what we mean -----------------------------------------------------------------------------------------------------


def _missing(desired: Any, live: Any, path: Path) -> Iterator[str]:
    """Paths of what is desired and isn't so."""
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        for key, value in desired.items():
            if key in live:
                yield from _missing(value, live[key], (*path, key))
            else:
                yield _dotted((*path, key))
    elif isinstance(desired, list | tuple) and isinstance(live, list | tuple):
        yield from _missing_items(desired, live, path)
    elif not _is_same(desired, live, path):
        yield _dotted(path)


def _missing_items(desired: Sequence[Any], live: Sequence[Any], path: Path) -> Iterator[str]:
    keys = _keys_of(path)
    if not keys:
        if len(desired) != len(live):
            yield _dotted(path)
            return
        for position, (wanted, found) in enumerate(zip(desired, live, strict=True)):
            yield from _missing(wanted, found, (*path, f"[{position}]"))
        return
    for wanted in desired:
        named = {key: wanted[key] for key in keys if key in wanted}
        found = next((item for item in live if named.items() <= item.items()), None)
        here = (*path, f"[{', '.join(str(value) for value in named.values())}]")
        if found is None:
            yield _dotted(here)
        else:
            yield from _missing(wanted, found, here)


def _keys_of(path: Path) -> tuple[str, ...]:
    if not path or any(part in _ATOMIC_BELOW for part in path):
        return ()
    return _KEYS.get(path[-1], ())


def _is_same(desired: Any, live: Any, path: Path) -> bool:
    if isinstance(desired, bool) is not isinstance(live, bool):
        return False
    if desired == live:
        return True
    if not any(part in _QUANTITIES_BELOW for part in path):
        return False
    try:
        return bool(parse_quantity(desired) == parse_quantity(live))
    except ValueError:
        return False


def _dotted(path: Path) -> str:
    return ".".join(path).replace(".[", "[")


# --- who holds what ---------------------------------------------------------------------------------------------------


def _held(entry: Mapping[str, Any]) -> Iterator[str]:
    """The fields below ``spec`` that an entry holds, unless it is a report of status."""
    if entry.get("subresource") == "status":
        return
    spec = entry.get("fieldsV1", {}).get("f:spec")
    if spec is not None:
        yield from _leaves(spec, ("spec",))


def _leaves(fields: Mapping[str, Any], path: Path) -> Iterator[str]:
    below = {key: value for key, value in fields.items() if key != "."}
    if not below:
        yield _dotted(path)
    for key, value in below.items():
        yield from _leaves(value, (*path, _readable(key)))


def _left_behind(fields: Mapping[str, Any], desired: Any, path: Path) -> Iterator[str]:
    """Paths that our entry holds and ``desired`` doesn't have."""
    for key, below in fields.items():
        if key == ".":
            continue
        found, value = _follow(key, desired)
        if found:
            yield from _left_behind(below, value, (*path, _readable(key)))
        else:
            yield _dotted((*path, _readable(key)))


def _follow(key: str, desired: Any) -> tuple[bool, Any]:
    """One step of a path of managedFields: ``f:<field>``, ``k:<keys of an item>``, ``v:<item>``, ``i:<position>``."""
    kind, _, rest = key.partition(":")
    if kind == "f" and isinstance(desired, Mapping):
        return rest in desired, desired.get(rest)
    if not isinstance(desired, list | tuple):
        return False, None
    if kind == "k":
        keys = json.loads(rest)
        items = (item for item in desired if isinstance(item, Mapping) and _has_keys(item, keys))
    elif kind == "v":
        items = (item for item in desired if item == json.loads(rest))
    else:
        items = (item for position, item in enumerate(desired) if kind == "i" and position == int(rest))
    found = next(items, None)
    return found is not None, found


def _has_keys(item: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    """A protocol that an item leaves out is TCP, which managedFields writes down."""
    return all(item.get(key, "TCP" if key == "protocol" else None) == value for key, value in keys.items())


def _readable(key: str) -> str:
    kind, _, rest = key.partition(":")
    if kind == "f":
        return rest
    value = json.loads(rest)
    return f"[{', '.join(str(part) for part in value.values()) if isinstance(value, dict) else value}]"
