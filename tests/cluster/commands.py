"""Programs that the cluster tests run as their users do: kubectl, helm, make."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")  # set where the tests themselves were run by make


class Ended(NamedTuple):
    code: int
    out: str
    errors: str


class CommandFailed(AssertionError):
    """A program said no; all that it printed."""


async def attempt(
    *command: str, input: str = "", seconds: float = 300.0, extra: Mapping[str, str] | None = None
) -> Ended:
    """Run it to its end, whatever that is. ``extra`` is added to the environment. Raises TimeoutError."""
    environment = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**environment, **(extra or {})},
    )
    try:
        async with asyncio.timeout(seconds):
            out, errors = await process.communicate(input.encode())
    except TimeoutError:
        raise TimeoutError(f"{' '.join(command)}: still running after {seconds:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), errors.decode())


async def run(*command: str, input: str = "", seconds: float = 300.0, extra: Mapping[str, str] | None = None) -> str:
    """What it printed. Raises CommandFailed, TimeoutError."""
    ended = await attempt(*command, input=input, seconds=seconds, extra=extra)
    if ended.code:
        raise CommandFailed(f"{' '.join(command)}: exit code {ended.code}\n{ended.out}{ended.errors}")
    return ended.out
