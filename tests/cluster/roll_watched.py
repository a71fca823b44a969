"""What a roll looks like from outside: which pods were replaced, in which order, and how many were away at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cluster.group_under_test import LOOK_SECONDS, GroupUnderTest, is_up


@dataclass
class PodsWatched:
    """``replaced``: names of the pods in the order in which new ones took their place. ``most_away``: of the pods that
    there were at the beginning, how many weren't up at the same look, and which."""

    replaced: list[str] = field(default_factory=list)
    most_away: tuple[str, ...] = ()
    looks: int = 0


@asynccontextmanager
async def pods_watched(group: GroupUnderTest) -> AsyncIterator[PodsWatched]:
    """Look at the group's pods again and again while the block lasts."""
    watched = PodsWatched()
    known = await group.uids()

    async def look() -> None:
        while True:
            pods = await group.pods()
            away = tuple(sorted(name for name in known if name not in pods or not is_up(pods[name])))
            watched.most_away = max(watched.most_away, away, key=len)
            for name, pod in pods.items():
                if known.get(name) not in (None, pod.metadata.uid):
                    watched.replaced.append(name)
                    known[name] = pod.metadata.uid
            watched.looks += 1
            await asyncio.sleep(LOOK_SECONDS)

    watching = asyncio.create_task(look())
    try:
        yield watched
        if watching.done():
            watching.result()
        assert watched.looks, "nobody looked"
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
