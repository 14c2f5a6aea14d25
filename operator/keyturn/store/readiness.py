"""Whether the schema is that of this version of Keyturn; what makes it so is loaded where it is not, since it costs 13 MiB."""

from typing import Final

from sqlalchemy import text

from keyturn.model.errors import ProviderError
from keyturn.store.engine import Database

REVISION: Final = "0004"
"""The schema of this version of Keyturn."""


async def ready(database: Database) -> None:
    """Makes sure that the schema is ours: SQLite's is brought there, PostgreSQL's is looked at.

    Raises `DatabaseRefused` where it is older or newer than this version of Keyturn, and `ProviderError`.
    """
    if await _is_current(database):
        return
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
