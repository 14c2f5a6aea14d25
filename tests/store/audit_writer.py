"""A process that does things, and says before each that it will: `python -m store.audit_writer NAME EFFECTS`, until it is killed.

Many do at a time, so that rows gather to groups. An effect is a line in a file of its own. Each intent that was acknowledged is told
on standard output, before its effect. SIGTERM ends it as an operator is ended.
"""

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path

from keyturn.flow import audit_queue
from keyturn.flow.audit import audited
from keyturn.flow.audit_queue import AuditQueue
from keyturn.model.audit import AuditEntry, Outcome
from keyturn.model.errors import AuditUnavailable
from keyturn.model.sensitive import Sensitive
from keyturn.ports import AuditLog
from keyturn.store.audit import AuditTrail
from keyturn.store.engine import open_database
from keyturn.testing.clock import FakeClock

AT_ONCE = 8
KEY = bytes(range(32))
"""Of seals."""


class Telling(AuditQueue):
    """Tells what was acknowledged, and does the effect of it."""

    effects = 0

    async def intend(self, entry: AuditEntry) -> str:
        event = await super().intend(entry)
        # Each is one write, which a kill leaves whole.
        os.write(sys.stdout.fileno(), f"{event}\n".encode())
        os.write(self.effects, f"{event}\n".encode())
        return event


async def act(log: AuditLog, name: str, lot: random.Random) -> None:
    while True:
        with suppress(AuditUnavailable):
            async with audited(log, AuditEntry("secret.create", f"ManagedSecret/shop/{name}", f"Secret/shop/{lot.random()}")):
                await asyncio.sleep(lot.uniform(0, 0.02))
        if lot.random() < 0.1:
            log.record(AuditEntry("secret.read", f"ManagedSecret/shop/{name}", "Secret/shop/other"), Outcome.DENIED, "PolicyDenied")
        await asyncio.sleep(lot.uniform(0, 0.04))


async def main(name: str, effects: Path) -> None:
    audit_queue.RETRY_S = 0.05  # type: ignore[misc]  # a server that was killed is back soon
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    database = open_database(Sensitive.of(os.environ["DATABASE_URL"]))
    trail = AuditTrail(database, lambda: ("k1", Sensitive(KEY)))

    async def opened() -> AuditTrail:
        return trail

    queue, lot = Telling(opened, FakeClock(), name, "0", office=name), random.Random(f"{os.environ['SEED']} {name}")
    queue.effects = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    queue.begin_term("")
    writing = asyncio.create_task(queue.run())
    acting = [asyncio.create_task(act(queue, name, lot)) for _ in range(AT_ONCE)]
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopping, writing, *acting], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    for task in (*acting, writing):
        task.cancel()
    await asyncio.wait([*acting, writing])
    await queue.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
