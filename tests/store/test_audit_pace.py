"""A long group of rows leaves the event loop time for everything else."""

import asyncio
import time

from keyturn.model.sensitive import Sensitive
from keyturn.store.audit import AuditTrail
from store.places import Place
from store.test_audit import row

KEY = Sensitive(bytes(range(32)))
ROWS = 500


async def test_500_rows_at_once_hold_up_the_event_loop_for_no_long_time(place: Place) -> None:
    """By the CPU time of its own thread, which nobody else on the machine spends."""
    keys, details = tuple(f"key-{n}" for n in range(5)), {"revision": "0123456789abcdef-1", "sources": "ClusterSecretProvider/shop:app"}
    groups = [[row(f"e{part}-{n}", keys=keys, details=details) for n in range(ROWS)] for part in range(3)]
    trail, longest, is_done = AuditTrail(place.database(), lambda: ("k1", KEY)), 0.0, False
    await trail.append([row("first")])

    async def tick() -> None:
        nonlocal longest
        while not is_done:
            before = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)

    ticking = asyncio.create_task(tick())
    for group in groups:
        await trail.append(group)
    is_done = True
    await ticking
    print(f"longest turn of the event loop: {longest * 1000:.1f} ms")
    assert longest < 0.005
