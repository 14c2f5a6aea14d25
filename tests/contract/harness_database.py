"""The benches of the database provider: the operator's own on SQLite and on a real PostgreSQL server, and a tenant's on that."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from sqlalchemy import select, update

from contract.benches import Fronted
from contract.kept import Kept
from contract.sql_front import SqlFront
from keyturn.decide.address import AddressRules
from keyturn.model.database import OtherDatabase
from keyturn.model.ids import Carrier, KeyRef
from keyturn.model.keys import MasterKeys
from keyturn.model.material import CURRENT, Cap
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Provider
from keyturn.providers.database import DatabaseProvider, OwnDatabase, TenantDatabase
from keyturn.providers.room import Room
from keyturn.store import cipher
from keyturn.store.change import Change
from keyturn.store.databases import STORE, SqlDatabases
from keyturn.store.keys import Keyholder
from keyturn.store.reading import LARGEST_VALUE
from keyturn.store.rows import with_version_mac
from keyturn.store.tables import secrets as names
from keyturn.store.tables import versions
from keyturn.testing.provider_suite import Bench, Need, Who
from postgres import Postgres
from store.places import ITERATIONS, Place, postgres_place, sqlite_place, token

_T = TypeVar("_T")

_FILE = "a file: there is no server, and so nothing of the kind"
_TABLES = "a database's rights are for its tables: who may read one secret may read all"
_URL = KeyRef(Carrier.SECRET, "shop", "database", "url")
_KEY = KeyRef(Carrier.SECRET, "shop", "database", "key")
_LOOPBACK = AddressRules(allowed=("127.0.0.0/8",), allow_plain_http=True)


class _Bench(Bench):
    """A database with our tables. What is seeded comes from another process's engine, as it were: there is no other way to write."""

    most_bytes = LARGEST_VALUE
    iterations = ITERATIONS
    place: Place

    async def start(self) -> None:
        self._stack = AsyncExitStack()
        await self._begin()
        await self.place.migrate()
        self._holder = Keyholder(self.place.database(), MasterKeys.of({"SECRET_KEY": self.place.master}), self.iterations)
        await self._holder.open()

    async def _begin(self) -> None:
        """Makes the place."""
        raise NotImplementedError

    async def stop(self) -> None:
        await self._stack.aclose()

    def _own(self, url: str, master: str) -> Provider:
        """As the operator opens what it was given in DATABASE_URL and SECRET_KEY."""
        databases = SqlDatabases.of(Sensitive.of(url), MasterKeys.of({"SECRET_KEY": master}))
        self._stack.push_async_callback(databases.close)
        return DatabaseProvider(OwnDatabase(databases))

    async def seed(self, key: str, data: bytes, *, tags: Mapping[str, str] | None = None, stage: str = CURRENT) -> str:
        return str(await self._change(key, lambda change: change.put(Sensitive(data), token(), None, stage, tags)))

    async def remove(self, key: str) -> None:
        await self._change(key, Change.delete)

    async def disable(self, key: str) -> None:
        async with self._holder.database.writing() as connection:
            asked = select(versions).join(names).where(names.c.store == STORE, names.c.name == key)
            row = (await connection.execute(asked)).mappings().one()
            off = with_version_mac(self._holder.ring, STORE, key, {**row, "enabled": False})
            await connection.execute(update(versions).where(versions.c.id == row["id"]).values(off))

    async def _change(self, key: str, work: Callable[[Change], Awaitable[_T]]) -> _T:
        async with self._holder.database.writing() as connection:
            return await work(await Change.begin(connection, self._holder.ring, STORE, key, datetime.now(UTC)))


class FileBench(_Bench):
    """The operator's own database in a file; whoever opens it is a process of its own. A wrong log-in is a wrong SECRET_KEY."""

    lacks: Mapping[Cap | Need, str] = {
        Need.DENY: _TABLES,
        **dict.fromkeys((Need.EXPIRY, Need.THROTTLE, Need.HANG, Need.FAIL, Need.REFUSE, Need.LOSE), _FILE),
    }

    async def _begin(self) -> None:
        folder = self._stack.enter_context(TemporaryDirectory())
        self.place = await self._stack.enter_async_context(sqlite_place(Path(folder)))

    async def open(self, who: Who = Who.OURS) -> Provider:
        return self._own(self.place.url, self.place.master if who is Who.OURS else f"kt-canary-wrong-{secrets.token_urlsafe(48)}")


class ServerBench(Fronted, _Bench):
    """The operator's own database on a server, behind a front that can be away, silent, failing or a bad road."""

    patience_s = 60.0
    prose = "kt-canary-words-of-the-server"
    lacks: Mapping[Cap | Need, str] = {
        Need.DENY: _TABLES,
        Need.THROTTLE: "a database that is full does not say until when",
    }

    def __init__(self, server: Postgres) -> None:
        self._server = server

    async def _begin(self) -> None:
        self.place = await self._stack.enter_async_context(postgres_place(self._server))
        self._front = SqlFront(self._server.port, f"{self.prose}: the database system is starting up")
        await self._front.listen()
        self._stack.push_async_callback(self._front.leave)

    async def open(self, who: Who = Who.OURS) -> Provider:
        url = self.place.url.replace(f":{self._server.port}/", f":{self._front.port}/")
        assert self.place.own is not None
        return self._open(url if who is Who.OURS else url.replace(self.place.own.password, "kt-canary-wrong"))

    def _open(self, url: str) -> Provider:
        return self._own(url, self.place.master)

    async def expire(self) -> None:
        assert self.place.own is not None
        others = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.place.own.name}'"
        self._server.execute(others)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[None]:
        self._front.failing = True
        yield
        self._front.failing = False

    @asynccontextmanager
    async def losing_answers(self) -> AsyncIterator[None]:
        self._front.loses_answers = True
        yield
        self._front.loses_answers = False


class TenantBench(ServerBench):
    """A tenant's, whose URL and key are in Secrets: by the dialer for tenants, whose failures all take as long."""

    patience_s = 120.0
    iterations = cipher.ITERATIONS  # of others none is taken

    def _open(self, url: str) -> Provider:
        kept = Kept(secrets={_URL: Sensitive.of(url), _KEY: Sensitive.of(self.place.master)})
        return DatabaseProvider(TenantDatabase(OtherDatabase(_URL, _KEY), kept, SqlDatabases(), _LOOPBACK, "shop", Room()))
