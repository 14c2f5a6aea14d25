"""A prune as a process of its own, which ends itself without a word at the step that it is told: ``URL FOLDER UP_TO MOST STEP TIMES``."""

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from keyturn.model.audit import AuditEntry, AuditRow, Outcome
from keyturn.model.sensitive import Sensitive
from keyturn.store.audit_prune import Pruning, Wish
from keyturn.store.engine import open_database
from keyturn.store.signing import SigningKey

SIGNING = SigningKey.of_seed(Sensitive(bytes(range(1, 33))), "a test's key")
KEY = Sensitive(bytes(range(32)))
STEPS = ("cut", "exported", "read back", "about to commit", "taken out")


def fact(entry: AuditEntry, event: str) -> AuditRow:
    return AuditRow.of(entry, event, datetime.now(UTC), "user/0", "", Outcome.SUCCESS)


def pruning(url: str, folder: Path, most: int, step: str = "", times: int = 1) -> Pruning:
    """Which is killed at a step, once that came so many times."""
    left = times

    def told(done: str) -> None:
        nonlocal left
        left -= done == step
        if done == step and not left:
            os.kill(os.getpid(), signal.SIGKILL)

    database = open_database(Sensitive.of(url))
    return Pruning(database, lambda _: KEY, lambda: ("k1", KEY), SIGNING, fact, folder, most, told)


async def main(url: str, folder: str, up_to: str, most: str, step: str, times: str) -> None:
    made = pruning(url, Path(folder), int(most), step, int(times))
    try:
        await made.run(Wish(int(up_to)), datetime.now(UTC))
    finally:
        await made.database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
