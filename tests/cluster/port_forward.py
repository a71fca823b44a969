"""``kubectl port-forward`` to a Service, as a user's terminal does it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cluster.api import SECONDS

FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:([0-9]+) ->")


@asynccontextmanager
async def port_forward(namespace: str, service: str, port: int) -> AsyncIterator[int]:
    """The port of this machine's loopback that leads to the Service's, for as long as the block lasts."""
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        f"--namespace={namespace}",
        "port-forward",
        f"service/{service}",
        f":{port}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            said = (await process.stdout.readline()).decode()
        found = FORWARDING.match(said)
        assert found is not None, f"kubectl port-forward says: {said}"
        yield int(found[1])
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
