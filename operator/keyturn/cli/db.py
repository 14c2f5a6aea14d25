"""``keyturn db upgrade``: makes the tables, or brings them to the schema of this version, as the database's owner."""

import asyncio
import os
from typing import Final

import click

from keyturn.cli.needs import NoDatabase, need
from keyturn.model.errors import AccessDenied, KeyturnError
from keyturn.model.sensitive import Sensitive

OWNER_URL: Final = "DATABASE_OWNER_URL"
URL: Final = "DATABASE_URL"


class OtherDatabase(KeyturnError):
    """The two URLs mean different databases; the message says by what that shows."""


class NotTheOwner(KeyturnError):
    """The user that was given may not change the tables."""


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
    click.echo(asyncio.run(_upgrade(owner, user)))


async def _upgrade(owner: Sensitive, user: Sensitive) -> str:
    from keyturn.store.engine import open_database
    from keyturn.store.schema import migrate
    from keyturn.store.url import name_of, parsed

    variable, url = (OWNER_URL, owner) if owner else (URL, user)
    role = _role(owner, user) if owner and user else ""
    database = open_database(url, variable=variable)
    try:
        before, after = await migrate(database, grant_to=role)
    except AccessDenied:
        if database.is_sqlite:
            raise
        remedy = f"log in with {OWNER_URL} as their owner" if owner else f"set {OWNER_URL} to the owner's"
        raise NotTheOwner(f"the database does not let this user change its tables; {remedy}") from None
    finally:
        await database.close()
    done = f"the schema of {name_of(parsed(url))} is {after}" + (" already" if before == after else f", and was {before or 'not there'}")
    return done + (f"; {role} has what the operator needs" if role else "")


def _role(owner: Sensitive, user: Sensitive) -> str:
    """The user of run time, who is granted what the operator needs; '' where it is the owner, or there are no users.

    Raises `OtherDatabase` where the operator would look for the tables in another place than they are made.
    """
    from keyturn.store.url import difference, parsed, user_of

    one, other = parsed(owner, OWNER_URL), parsed(user, URL)
    if part := difference(one, other):
        raise OtherDatabase(f"{OWNER_URL} and {URL} mean different databases, their {part} differs; write the same into both")
    if one.get_backend_name() == "sqlite":
        return ""
    if not (role := user_of(user, URL)):
        raise NoDatabase(f"{URL} names no user who could be granted anything; write it as postgresql://USER:PASSWORD@HOST/NAME")
    return role if role != user_of(owner, OWNER_URL) else ""
