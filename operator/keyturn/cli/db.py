"""``keyturn db upgrade``: makes the tables, or brings them to the schema of this version, as the database's owner."""

import asyncio
import os
from typing import Final

import click

from keyturn.cli.needs import NoDatabase, need
from keyturn.model.sensitive import Sensitive

OWNER_URL: Final = "DATABASE_OWNER_URL"
URL: Final = "DATABASE_URL"


@click.group()
def db() -> None:
    """Look after the database's tables."""


@db.command()
def upgrade() -> None:
    """Bring the database's tables to this version.

    Works as the owner in DATABASE_OWNER_URL, and grants the user of DATABASE_URL what the operator needs at run time. With
    DATABASE_URL alone that user has to be the owner. A database in a file is brought there by the operator itself.
    """
    need("database", "keyturn db")
    owner, user = (Sensitive.of(os.environ.get(name, "").strip()) for name in (OWNER_URL, URL))
    if not owner and not user:
        raise NoDatabase(f"set {OWNER_URL} or {URL} to the database that is meant")
    click.echo(asyncio.run(_upgrade(owner or user, user if owner else Sensitive(b""))))


async def _upgrade(owner: Sensitive, user: Sensitive) -> str:
    from keyturn.store.engine import open_database, user_of
    from keyturn.store.schema import migrate

    role = user_of(user) if user else ""
    database = open_database(owner)
    if user and not role and not database.is_sqlite:
        raise NoDatabase(f"{URL} names no user who could be granted anything; write it as postgresql://USER:PASSWORD@HOST/NAME")
    try:
        before, after = await migrate(database, grant_to=role if role != user_of(owner) else "")
    finally:
        await database.close()
    done = f"the schema is {after}" + (" already" if before == after else f", and was {before or 'not there'}")
    return done + (f"; {role} has what the operator needs" if role else "")
