"""A database of a test's own, on SQLite or PostgreSQL, and what is opened in it."""

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from keyturn.model.keys import MasterKeys
from keyturn.model.sensitive import Sensitive
from keyturn.store.engine import Database, open_database
from keyturn.store.keys import Keyholder
from keyturn.store.schema import migrate
from keyturn.store.values import SqlValues
from postgres import Database as Own
from postgres import Postgres

ITERATIONS = 1000
"""Of PBKDF2: what a start costs is no matter here."""


def token() -> str:
    """A new token for a put."""
    return secrets.token_hex(20)


@dataclass(slots=True)
class Place:
    """Where a test's secrets are. ``url`` is the run-time user's."""

    url: str
    owner_url: str
    file: Path | None = None
    server: Postgres | None = None
    own: Own | None = None
    master: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)
    _opened: list[Database] = field(default_factory=list)

    def database(self, url: str = "") -> Database:
        """A new engine on it, closed with the test."""
        self._opened.append(open_database(Sensitive.of(url or self.url)))
        return self._opened[-1]

    async def migrate(self, to: str = "head") -> tuple[str, str]:
        """As its owner."""
        return await migrate(self.database(self.owner_url), to, grant_to=self.own.user if self.own else "")

    async def values(self, store: str = "default", **more: Any) -> SqlValues:
        """The secrets of a store, in an engine and with a keyring of their own."""
        holder = Keyholder(self.database(), MasterKeys.of({"SECRET_KEY": self.master}), ITERATIONS)
        await holder.open()
        return SqlValues(holder, store, **more)

    async def execute(self, statement: str, **parameters: Any) -> Sequence[Any]:
        """As whoever has the database, and without a word to us."""
        async with self.database(self.owner_url).writing(is_first=True) as connection:
            asked = await connection.execute(text(statement), parameters)
            return asked.all() if asked.returns_rows else ()

    def bytes(self) -> bytes:
        """All that lies on the disk: the file with its log, or a dump."""
        if self.server is not None and self.own is not None:
            return self.server.dump(self.own)
        assert self.file is not None
        return b"".join(path.read_bytes() for path in sorted(self.file.parent.glob(f"{self.file.name}*")))

    async def close(self) -> None:
        for database in self._opened:
            await database.close()


@asynccontextmanager
async def sqlite_place(folder: Path) -> AsyncIterator[Place]:
    file = folder / "keyturn.db"
    place = Place(f"sqlite:///{file}", f"sqlite:///{file}", file=file)
    yield place
    await place.close()
    # One whose connection failed still has something to tell this loop.
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, 2.0)


@asynccontextmanager
async def postgres_place(server: Postgres) -> AsyncIterator[Place]:
    own = server.create()
    place = Place(own.user_url, own.owner_url, server=server, own=own)
    yield place
    await place.close()
    server.drop(own)


def counting(database: Database) -> list[str]:
    """What is asked of the database from now on, transactions aside."""
    asked: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            asked.append(statement)

    return asked
