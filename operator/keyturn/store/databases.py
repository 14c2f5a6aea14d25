"""The port `Databases`: the operator's own database, and those of tenants, each with the key that opens it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from keyturn.model.keys import NO_KEYS, MasterKeys
from keyturn.model.note import VerifierKey
from keyturn.model.sensitive import Sensitive
from keyturn.store.audit import AuditTrail, seal_key, trail_of
from keyturn.store.audit_keys import AuditKeys, KeptKeys, kept_key, signing_key
from keyturn.store.checkpoints import CheckpointBook, newest_of
from keyturn.store.engine import open_database
from keyturn.store.failures import DatabaseRefused
from keyturn.store.keys import Keyholder, is_empty, read_rows
from keyturn.store.readiness import ready
from keyturn.store.values import SqlValues

STORE: Final = "default"
"""What the secrets of a database are filed under, unless something else is said."""

_NO_URL: Final = Sensitive(b"postgresql://")


class Keeper(Protocol):
    """Where master keys are kept that nobody gave to this process. Raises a `KeyturnError`."""

    async def __call__(self, *, may_make: bool) -> MasterKeys:
        """Them; one is made where there is none and ``may_make``: what is in the database needs the one that it was written under."""
        ...


class SqlDatabases:
    """Use `of`. ``holder`` is that of the operator's own database, None where it was given none.

    ``keeper`` has its master keys where they were not given, ``audit_keeper`` the key that signs its audit trail. ``lasts``: this
    process stays, and keeps nothing in memory that is needed once.
    """

    def __init__(self, holder: Keyholder | None = None, audit_keys: AuditKeys | None = None, *, lasts: bool = False) -> None:
        self.holder = holder
        self._lasts = lasts
        self.keeper: Keeper | None = None
        self.audit_keeper: KeptKeys | None = None
        self._audit_keys = audit_keys or AuditKeys()
        self._turn = asyncio.Lock()
        self._is_open = False

    @classmethod
    def of(
        cls, url: Sensitive, masters: MasterKeys = NO_KEYS, audit_keys: AuditKeys | None = None, *, lasts: bool = False
    ) -> "SqlDatabases":
        """With a database of the operator's own, without I/O. Raises `DatabaseRefused`."""
        return cls(Keyholder(open_database(url), masters), audit_keys, lasts=lasts)

    @property
    def has_own(self) -> bool:
        return self.holder is not None

    @property
    def missing_file(self) -> Path | None:
        """The file of the operator's own where it is in one that is not there: whoever opens it makes it."""
        return self.holder.database.missing_file if self.holder is not None else None

    async def begin(self) -> Keyholder:
        """Opens the operator's own: brings SQLite's tables, and proves the keys. Raises as `ready` and `Keyholder.open` do."""
        if self.holder is None:
            raise DatabaseRefused("the operator has no database; start it with DATABASE_URL and SECRET_KEY")
        async with self._turn:
            if not self._is_open:
                await ready(self.holder.database, lasts=self._lasts)
                if not self.holder.masters.keys:
                    self.holder.masters = await self._kept(self.holder)
                await self.holder.open()
                self._is_open = True
        return self.holder

    async def masters(self) -> MasterKeys:
        """The master keys of the operator's own, also while it is away. Raises as the keeper does."""
        if self.holder is None or self.holder.masters.keys or self.keeper is None:
            return self.holder.masters if self.holder is not None else NO_KEYS
        return await self.keeper(may_make=False)

    async def _kept(self, holder: Keyholder) -> MasterKeys:
        if self.keeper is None:
            return MasterKeys.of({})  # which says what to give
        async with holder.database.reading() as connection:
            may_make = not await read_rows(connection) and await is_empty(connection)
        return await self.keeper(may_make=may_make)

    async def own(self) -> SqlValues:
        return SqlValues(await self.begin(), STORE)

    async def trail(self) -> AuditTrail:
        return trail_of(await self.begin(), self._public)

    async def _public(self) -> Sequence[VerifierKey]:
        """By which checkpoints and segments are ours. Raises as the keeper of audit keys does."""
        made = None
        if self._audit_keys.signing is None and self.audit_keeper is not None:
            made = await kept_key(self.audit_keeper)
        return (*self._audit_keys.public, *((made.verifier,) if made is not None else ()))

    async def checkpoints(self, keys: KeptKeys) -> CheckpointBook:
        """Those of the trail; the key is among ``keys`` where none was given. Raises `AuditKeyLost` where it should be there and is not."""
        holder = await self.begin()
        key = await signing_key(self._audit_keys, keys, has_signed=await newest_of(holder.database) is not None)
        seal = partial(seal_key, holder)
        return CheckpointBook(trail_of(holder), holder.database, seal, key, self._audit_keys.known, proves_clock=True)

    async def open(self, key: Sensitive, connect: Callable[[], Awaitable[Any]], tenant: str) -> SqlValues:
        masters = MasterKeys.alone(key, "the key of keySecretRef")
        database = open_database(_NO_URL, connect)
        try:
            return SqlValues(await _proved(Keyholder(database, masters, tenant=tenant)), STORE, owns_database=True)
        except BaseException:
            await database.close()
            raise

    async def close(self) -> None:
        """Ends the operator's own; may be called twice."""
        if self.holder is not None:
            await self.holder.database.close()


async def _proved(holder: Keyholder) -> Keyholder:
    await ready(holder.database)
    await holder.open()
    return holder
