"""Idempotency keys: a request without a session that is sent again under the same key is answered, not run again.

Kept per (principal, key) in the order in which they were first used, bounded in number and in log time; when one too
many is kept the oldest goes.
"""

from __future__ import annotations

from typing import Any

from orderbook.groups.sessions import HASH_MASK, Kept, mix


class IdempotencyKeys:
    def __init__(self) -> None:
        self.hash = 0
        self._kept: dict[tuple[str, str], tuple[int, Kept]] = {}  # insertion order is the order of use

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, principal: str, key: str) -> Kept | None:
        found = self._kept.get((principal, key))
        return found[1] if found else None

    def keep(self, principal: str, key: str, kept: Kept, now_ms: int, most: int) -> None:
        self._kept[principal, key] = (now_ms, kept)
        self.hash = (self.hash + mix(principal, key, now_ms, kept.log_index)) & HASH_MASK
        while len(self._kept) > most:
            self._drop_oldest()

    def expire(self, before_ms: int) -> None:
        """Drop those first used before a log time."""
        while self._kept:
            at_ms, _ = next(iter(self._kept.values()))
            if at_ms >= before_ms:
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        (principal, key), (at_ms, kept) = next(iter(self._kept.items()))
        del self._kept[principal, key]
        self.hash = (self.hash - mix(principal, key, at_ms, kept.log_index)) & HASH_MASK

    def dump(self) -> list[list[Any]]:
        return [
            [principal, key, at_ms, kept.commands, kept.body, kept.log_index, kept.start, kept.events]
            for (principal, key), (at_ms, kept) in self._kept.items()
        ]

    def load(self, rows: list[list[Any]]) -> None:
        for principal, key, at_ms, commands, digest, index, start, events in rows:
            kept = Kept(1, commands, digest, True, index, start, [tuple(event) for event in events])
            self.keep(principal, key, kept, at_ms, len(self._kept) + 1)
