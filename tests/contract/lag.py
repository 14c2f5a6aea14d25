"""How long the event loop stands still while something is done."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class Lag:
    """``worst_s`` is the longest time in which nothing else ran."""

    worst_s: float = 0.0


@asynccontextmanager
async def lagging() -> AsyncIterator[Lag]:
    seen = Lag()

    async def tick() -> None:
        while True:
            began_s = time.perf_counter()
            try:
                await asyncio.sleep(0.002)
            finally:
                seen.worst_s = max(seen.worst_s, time.perf_counter() - began_s)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    try:
        yield seen
    finally:
        ticking.cancel()
        await asyncio.wait({ticking})
