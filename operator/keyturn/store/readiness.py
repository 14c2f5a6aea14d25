"""Whether the schema is that of this version of Keyturn; what makes it so is loaded where it is not, since it costs 13 MiB.

A process that lasts has that done by another one, and never has the 13 MiB.
"""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from typing import Final

from sqlalchemy import text

from keyturn.model.errors import ProviderError
from keyturn.store.engine import Database

REVISION: Final = "0004"
"""The schema of this version of Keyturn."""


_LONGEST_S: Final = 60.0


async def ready(database: Database, *, lasts: bool = False) -> None:
    """Makes sure that the schema is ours: SQLite's is brought there, PostgreSQL's is looked at. ``lasts``: this process does.

    Raises `DatabaseRefused` where it is older or newer than this version of Keyturn, and `ProviderError`.
    """
    if await _is_current(database):
        return
    if lasts and database.is_sqlite:
        await asyncio.to_thread(_upgrade, database.engine.url.render_as_string(hide_password=False))
        if await _is_current(database):
            return  # else it is tried here, which tells why it cannot be done
    from keyturn.store.schema import check, migrate

    if database.is_sqlite:
        await migrate(database)
    else:
        await check(database)


async def _is_current(database: Database) -> bool:
    try:
        async with database.reading() as connection:
            return list(await connection.scalars(text("SELECT version_num FROM alembic_version"))) == [REVISION]
    except ProviderError:
        return False  # no table, or no database: it is told in the other way


def _upgrade(url: str) -> None:
    """`keyturn db upgrade`, with nothing of this process but its modules and the file's name."""
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "DATABASE_URL": url}
    command = [sys.executable, "-m", "keyturn", "db", "upgrade"]
    with suppress(OSError, subprocess.TimeoutExpired):  # no memory for it, say
        subprocess.run(command, env=environment, capture_output=True, check=False, timeout=_LONGEST_S)
