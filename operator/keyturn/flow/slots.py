"""Waits for the slots in which providers are looked after; ``decide/refresh.py`` says when they are."""

import asyncio

from keyturn.ports import Clock


async def sleep_until(target: float, clock: Clock, changed: asyncio.Event) -> bool:
    """Waits for a wall-clock time (Unix seconds); True where the plan changed before it came."""
    left = target - clock.now().timestamp()
    try:
        async with asyncio.timeout(max(0.0, left)):
            await changed.wait()
    except TimeoutError:
        return False
    return True
