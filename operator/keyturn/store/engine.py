"""Connections to one database, and the two kinds of work that is done in it: reading, and writing one after the other.

SQLite (one file, for one replica) and PostgreSQL, and nothing else. The URL holds a password: it is in no error, repr or log,
and neither are statements and what is bound to them.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.util import greenlet_spawn

from keyturn.model.errors import Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.store import writers
from keyturn.store.connection import AsyncConnection, connected
from keyturn.store.failures import DatabaseRefused, failure_of
from keyturn.store.file import DatabaseFile
from keyturn.store.url import VARIABLE, completed, parsed

# At their debug level, and where a connection breaks, they tell statements, what is bound to them, and the server's prose.
for _talker in ("aiosqlite", "psycopg", "sqlalchemy", "alembic"):
    logging.getLogger(_talker).setLevel(logging.CRITICAL)

_T = TypeVar("_T")

CONNECT_S: Final = 5
BUSY_S: Final = 8
"""How long a writer waits for those of other processes; less than a provider's deadline."""

IDLE_S: Final = 10
"""How long a writer may be silent within its transaction: then the server ends it. A process that was stopped there would else hold up
all others for as long as its machine is on.
"""

POOL: Final = 5
_ALIVE: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}  # seconds; ms
# A database of the encoding SQL_ASCII would answer with bytes. No prepared statements: a pooler before the server may give each
# transaction another connection.
_SPOKEN: Final = {"client_encoding": "utf8", "prepare_threshold": None, "fallback_application_name": "keyturn"}
# Of the cache each of our connections has one, and the system has the file's pages in any case: a quarter of a MiB, not two.
_PRAGMAS: Final = {"journal_mode": "WAL", "synchronous": "FULL", "foreign_keys": "ON", "trusted_schema": "OFF", "cache_size": "-256"}
_ASYNC: Final = "postgresql+psycopg_async"
_WRITES: Final = "keyturn_writes"
_LOSSES: Final = "keyturn_losses"

Connector: TypeAlias = Callable[[], Awaitable[Any]]
"""Makes a connection of the driver's own, where somebody has to look first where it leads."""


class Database:
    """One database. Made without I/O; use `open_database`. ``is_own``: not a tenant's, who must not find out by us what listens where."""

    def __init__(self, engine: Engine, file: DatabaseFile | None = None, *, is_own: bool = True) -> None:
        self.engine = engine
        self._file = file
        self.is_sqlite: Final = engine.dialect.name == "sqlite"
        self._is_own = is_own
        # In one process they wait here for each other, in order, instead of trying again and again.
        self._turn = asyncio.Lock() if self.is_sqlite else None

    @property
    def missing_file(self) -> Path | None:
        """SQLite's file where it is not there: the first connection makes it."""
        if self.is_sqlite and not _is_there(file := Path(self.engine.url.database or "")):
            return file
        return None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One state of the database, for as long as it is entered. Raises `ProviderError` for whatever the driver raises."""
        async with _told(is_own=self._is_own), connected(self.engine) as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def writing(self, *, is_first: bool = False) -> AsyncIterator[AsyncConnection]:
        """The one writer of this moment; what it did is there when this is left, or nothing of it. Raises as `reading`.

        Where another one is that for too long, the error names it, if the database is our own. ``is_first``: there may be no tables yet.
        """
        if self._turn is not None:
            writing = {_WRITES: True}
            async with self._turn, _told(is_own=self._is_own), connected(self.engine, **writing) as connection, connection.begin():
                yield connection
        else:
            try:
                async with self.reading() as connection:
                    await (writers.enter_first(connection, IDLE_S) if is_first else writers.enter(connection, IDLE_S, BUSY_S))
                    yield connection
            except writers.Held as held:
                if not self._is_own:
                    raise
                with suppress(Unavailable):
                    async with self.reading() as connection:
                        held = await writers.named(connection, held)
                raise held from None

    async def write_in_one(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """As `writing`, for SQLite alone and without a turn of the event loop between the statements, each of which costs more than it.

        Who is called off may find it written all the same.
        """
        assert self._turn is not None
        assert self._file is not None
        async with self._turn, _told(is_own=self._is_own), connected(self.engine) as connection:
            own = await connection.driver_connection()
            try:
                done: _T = await own._execute(_in_one, own._conn, work, self._file)  # its thread, into which there is no other way
            except Unavailable:
                await connection.invalidate()  # else the pool would keep it, and with it the old file
                raise
            return done

    async def renew(self) -> None:
        """Gives whoever comes next a new connection to a server: those that stand may lead to nobody, and each would be waited for."""
        if not self.is_sqlite:
            await greenlet_spawn(self.engine.dispose)

    async def close(self) -> None:
        """Ends all connections; may be called twice."""
        await greenlet_spawn(self.engine.dispose)
        if self._file is not None:
            self._file.close()


def open_database(url: Sensitive, connector: Connector | None = None, *, variable: str = VARIABLE) -> Database:
    """The database at this URL, without a connection; ``connector`` makes those to a tenant's. Raises `DatabaseRefused`."""
    found = parsed(url, variable)
    if found.get_backend_name() == "sqlite":
        return Database(*_sqlite(found))
    return Database(
        create_engine(
            completed(found).set(drivername=_ASYNC),
            hide_parameters=True,
            pool_size=POOL,
            max_overflow=POOL,
            pool_timeout=BUSY_S,
            pool_pre_ping=True,
            pool_recycle=600,
            # Whatever the server's own default is: who waited for another writer has to see what that one wrote.
            isolation_level="READ COMMITTED",
            connect_args=_ALIVE | _SPOKEN | {"connect_timeout": CONNECT_S, "async_creator_fn": _connecting(connector)},
        ),
        is_own=connector is None,
    )


def _in_one(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], _T], file: DatabaseFile) -> _T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        file.check()
        done = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some failures end it by themselves
            connection.execute("ROLLBACK")
        raise
    return done


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


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no right to look: SQLite will say so itself
        return True


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # no right to look, or a name that is too long
        return False


def _sqlite(url: URL) -> tuple[Engine, DatabaseFile]:
    path = Path(url.database or "")
    if not _is_folder(path.parent):
        raise DatabaseRefused(f"the folder {path.parent} of the database is not there; make it, or mount a volume there")
    file = DatabaseFile(path)
    engine = create_engine(url, hide_parameters=True, pool_size=POOL, max_overflow=0, pool_timeout=BUSY_S, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "do_connect")
    def make(*_: object) -> None:
        file.ready()

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        # By itself the driver begins transactions late, and not before each statement: we say when.
        connection.isolation_level = None
        cursor = connection.cursor()
        for name, value in _PRAGMAS.items():
            cursor.execute(f"PRAGMA {name}={value}")
        cursor.close()
        file.check()
        record.info[_LOSSES] = file.losses

    @event.listens_for(engine, "checkout")
    def renew(_: object, record: Any, __: object) -> None:
        # One from before it was away may have other files of SQLite's beside it than those that stand there now.
        if record.info.get(_LOSSES) != file.losses:
            raise DisconnectionError

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # Who reads first and writes then may find that somebody else has written in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")
        try:
            file.check()
        except Unavailable:
            connection.invalidate()  # else the pool would keep it, and with it the old file
            raise

    return engine, file


@asynccontextmanager
async def _told(*, is_own: bool) -> AsyncIterator[None]:
    """Raises what a driver or SQLAlchemy raises as an error of ours, whose traceback has no word of theirs."""
    try:
        yield
    except Exception as error:
        failure = failure_of(error, is_own=is_own)
        if failure is None:
            raise
        raise failure from None
