"""Idempotency keys: a request without a session that is sent again under the same key is answered, not run again.

Kept per (principal, key) in the order in which they were first used, bounded in number, in bytes and in log time; when
too much is kept the oldest go, the newest never.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orderbook.groups.sessions import HASH_MASK, Kept, mix

MAX_KEY_BYTES = 256
MAX_DIGEST_BYTES = 64


class IdempotencyKeys:
    def __init__(self) -> None:
        self.hash = 0
        self.size = 0
        self._kept: dict[tuple[str, str], tuple[int, Kept]] = {}  # insertion order is the order of use

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, principal: str, key: str) -> Kept | None:
        found = self._kept.get((principal, key))
        return found[1] if found else None

    def keep(self, principal: str, key: str, kept: Kept, now_ms: int, most: int, most_size: int) -> None:
        """A request ran under a key that is not kept: remember its result."""
        self._add(principal, key, kept, now_ms)
        while len(self._kept) > 1 and (len(self._kept) > most or self.size > most_size):
            self._drop_oldest()

    def expire(self, before_ms: int) -> None:
        """Drop those first used before a log time."""
        while self._kept:
            at_ms, _ = next(iter(self._kept.values()))
            if at_ms >= before_ms:
                return
            self._drop_oldest()

    def _add(self, principal: str, key: str, kept: Kept, now_ms: int) -> None:
        self._kept[principal, key] = (now_ms, kept)
        self.size += kept.size
        self.hash = (self.hash + mix(principal, key, now_ms, kept.log_index)) & HASH_MASK

    def _drop_oldest(self) -> None:
        (principal, key), (at_ms, kept) = next(iter(self._kept.items()))
        del self._kept[principal, key]
        self.size -= kept.size
        self.hash = (self.hash - mix(principal, key, at_ms, kept.log_index)) & HASH_MASK

    def dump(self) -> Iterator[tuple[list[Any], int]]:
        """For a snapshot, in the order of use, each with about its size."""
        for (principal, key), (at_ms, k) in self._kept.items():
            yield [principal, key, at_ms, k.commands, k.body, k.log_index, k.start, k.events, k.body_bytes], k.size

    def load(self, rows: list[list[Any]]) -> None:
        """Add keys of a snapshot."""
        for principal, key, at_ms, commands, digest, index, start, events, body_bytes in rows:
            events = [tuple(event) for event in events]
            self._add(principal, key, Kept(1, commands, digest, True, index, start, events, body_bytes), at_ms)
