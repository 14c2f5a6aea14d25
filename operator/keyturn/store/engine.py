"""Connections to one database, and the two kinds of work that is done in it: reading, and writing one after the other.

SQLite (one file, for one replica) and PostgreSQL, and nothing else. The URL holds a password: it is in no error, repr or log,
and neither are statements and what is bound to them.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from sqlalchemy import URL, event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from keyturn.model.errors import KeyturnError
from keyturn.model.sensitive import Sensitive
from keyturn.store.failures import failure_of

# At their debug level, and where a connection breaks, they tell statements, what is bound to them, and the server's prose.
for _talker in ("aiosqlite", "psycopg", "sqlalchemy", "alembic"):
    logging.getLogger(_talker).setLevel(logging.CRITICAL)

WRITERS: Final = 0x6B657974
"""The advisory lock that whoever writes to a PostgreSQL database holds, and so its changes are seen in the order of their numbers."""

CONNECT_S: Final = 5
BUSY_S: Final = 8
"""How long a writer waits for those of other processes; less than a provider's deadline."""

POOL: Final = 5
_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_ALIVE: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}  # seconds; ms
_WRITES: Final = "keyturn_writes"

Connector: TypeAlias = Callable[[], Awaitable[Any]]
"""Makes a connection of the driver's own, where somebody has to look first where it leads."""


class DatabaseRefused(KeyturnError):
    """The database that was named cannot be used; the message says which rule it breaks, and never the URL."""


class Database:
    """One database. Made without I/O; use `open_database`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.is_sqlite: Final = engine.dialect.name == "sqlite"
        # In one process they wait here for each other, in order, instead of trying again and again.
        self._turn = asyncio.Lock() if self.is_sqlite else None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One state of the database, for as long as it is entered. Raises `ProviderError` for whatever the driver raises."""
        async with _told(), self.engine.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """The one writer of this moment; what it did is there when this is left, or nothing of it. Raises as `reading`."""
        if self._turn is not None:
            async with self._turn, _told(), self.engine.connect() as connection:
                await connection.execution_options(**{_WRITES: True})
                async with connection.begin():
                    yield connection
        else:
            async with self.reading() as connection:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": WRITERS})
                yield connection

    async def close(self) -> None:
        """Ends all connections; may be called twice."""
        await self.engine.dispose()


def open_database(url: Sensitive, connector: Connector | None = None) -> Database:
    """The database at this URL, without I/O; ``connector`` makes the connections to PostgreSQL. Raises `DatabaseRefused`."""
    found = parsed(url)
    if found.get_backend_name() == "sqlite":
        return Database(_sqlite(found))
    return Database(
        create_async_engine(
            found,
            hide_parameters=True,
            pool_size=POOL,
            max_overflow=POOL,
            pool_timeout=BUSY_S,
            pool_pre_ping=True,
            pool_recycle=600,
            # No prepared statements: a pooler before the server may give each transaction another connection.
            connect_args=_ALIVE | {"connect_timeout": CONNECT_S, "prepare_threshold": None, "async_creator_fn": _connecting(connector)},
        )
    )


def _connecting(connector: Connector | None) -> Callable[..., Awaitable[Any]]:
    """How connections are made: never left half made, which the server would keep a place for until it gives up."""

    async def connect(*arguments: Any, **options: Any) -> Any:
        from psycopg import AsyncConnection

        making = asyncio.ensure_future(connector() if connector else AsyncConnection.connect(*arguments, **options))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            # It takes no longer than its own limit, and for that long whoever gave it up waits.
            await asyncio.wait((making,))
            if not making.cancelled() and making.exception() is None:
                await making.result().close()
            raise

    return connect


def parsed(url: Sensitive) -> URL:
    """The URL with the driver that we use. Raises `DatabaseRefused`."""
    try:
        found = make_url(url.reveal().decode())
    except (ArgumentError, ValueError):
        found = None
    if found is None:
        raise DatabaseRefused("the database's URL is none; write postgresql://USER:PASSWORD@HOST/NAME or sqlite:////PATH/TO/FILE")
    driver = _DRIVERS.get(found.drivername)
    if driver is None:
        raise DatabaseRefused("the database's URL begins with something else than postgresql:// or sqlite:///; no other is supported")
    if driver.startswith("sqlite") and (found.database or ":memory:") == ":memory:":
        raise DatabaseRefused("the database's URL names no file: what is kept in memory is lost; write sqlite:////PATH/TO/FILE")
    if "plugin" in found.query:
        raise DatabaseRefused("the database's URL names a plugin, which would be code of somebody's; leave it out")
    return found.set(drivername=driver)


def user_of(url: Sensitive) -> str:
    """Whom it logs in as; '' where it does not say. Raises `DatabaseRefused`."""
    found = parsed(url)
    asked = found.username or found.query.get("user", "")
    return asked if isinstance(asked, str) else asked[-1]  # libpq takes the last of many


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # no right to look, or a name that is too long
        return False


def _sqlite(url: URL) -> AsyncEngine:
    path = Path(url.database or "")
    if url.query or not _is_folder(path.parent):
        raise DatabaseRefused(f"the folder {path.parent} of the database is not there; make it, or mount a volume there")
    engine = create_async_engine(
        url, hide_parameters=True, pool_size=POOL, max_overflow=0, pool_timeout=BUSY_S, connect_args={"timeout": BUSY_S}
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def make(*_: object) -> None:
        # Names, tags and tokens are nobody else's; SQLite gives its other files the mode of this one. Never one that is there:
        # to close it would take the locks of all connections that this process has to it. What hinders it, SQLite says itself.
        with suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        # By itself the driver begins transactions late, and not before each statement: we say when.
        connection.isolation_level = None
        cursor = connection.cursor()
        for name, value in (("journal_mode", "WAL"), ("synchronous", "FULL"), ("foreign_keys", "ON"), ("trusted_schema", "OFF")):
            cursor.execute(f"PRAGMA {name}={value}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        # Who reads first and writes then may find that somebody else has written in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")

    return engine


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """Raises what a driver or SQLAlchemy raises as an error of ours, whose traceback has no word of theirs."""
    try:
        yield
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        raise failure from None
