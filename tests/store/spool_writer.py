"""A process that spools rows, and says which are on the disk: `python -m store.spool_writer FILE`, until it is killed."""

import asyncio
import os
import sys
from pathlib import Path

from keyturn.model.keys import MasterKeys
from keyturn.store.audit_spool import AuditSpool
from store.places import ITERATIONS
from store.test_audit import row


async def main(path: Path) -> None:
    async def masters() -> MasterKeys:
        return MasterKeys.of(os.environ)

    spool, number = AuditSpool(path, masters, iterations=ITERATIONS), 0
    while True:
        group = [row(f"e{number + n}") for n in range(3)]
        number += len(group)
        await spool.append(group)
        os.write(sys.stdout.fileno(), "".join(f"{each.event}\n" for each in group).encode())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
