"""Encrypted secrets in a database: the operator's own, or a tenant's PostgreSQL under a key of the tenant's.

Opened at the first call that needs it, and again where what its log-in refers to has changed. What is in the database, and how
it is encrypted, is known elsewhere and comes through a port.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Protocol, TypeVar

from keyturn.decide.address import AddressRules
from keyturn.model.database import OtherDatabase
from keyturn.model.errors import AuthFailed, KeyturnError, ProviderError, Unavailable
from keyturn.model.material import CURRENT, Cap, Meta, SourceRef, Survey, Value, Version
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Databases, Provider, References, Surveyor, Writer
from keyturn.providers.room import Room

_T = TypeVar("_T")


class Door(Protocol):
    """How one database is come by."""

    async def open(self) -> Provider:
        """Raises a `KeyturnError`."""

    async def is_as_opened(self) -> bool:
        """Whether it would be opened again by the same log-in. Raises a `ProviderError`."""


class OwnDatabase:
    """The operator's."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def open(self) -> Provider:
        return await self._databases.own()

    async def is_as_opened(self) -> bool:
        return True


class TenantDatabase:
    """One whose URL and key are in Secrets. ``rules`` say where it may be, and whether without TLS; long answers need ``room``."""

    def __init__(
        self, other: OtherDatabase, references: References, databases: Databases, rules: AddressRules, tenant: str, room: Room
    ) -> None:
        self._other = other
        self._references = references
        self._databases = databases
        self._rules = rules
        self._tenant = tenant
        self._room = room
        self._opened: tuple[Sensitive, Sensitive] | None = None

    async def open(self) -> Provider:
        url, key = await self._read()
        # It dials as tenants' servers are dialed, by what the operator is installed with; nobody else needs that.
        from keyturn.providers.sql_dial import connect, server_at

        server = server_at(url, allow_plain=self._rules.allow_plain_http)
        found = await self._databases.open(key, partial(connect, server, self._rules, self._tenant, self._room), self._tenant)
        self._opened = url, key
        return found

    async def is_as_opened(self) -> bool:
        return self._opened == await self._read()

    async def _read(self) -> tuple[Sensitive, Sensitive]:
        return await self._references.read(self._other.url), await self._references.read(self._other.key)


class DatabaseProvider:
    """Whatever is behind the door."""

    caps: Final = (
        Cap.GET | Cap.GET_MANY | Cap.LIST | Cap.LIST_HAS_VERSION | Cap.VERSIONS | Cap.SURVEY
        | Cap.PUT | Cap.CAS | Cap.DELETE | Cap.UNDELETE | Cap.STAGE | Cap.TAGS
    )  # fmt: skip

    def __init__(self, door: Door) -> None:
        self._door = door
        self._turn = asyncio.Lock()
        self._kept: Provider | None = None
        self._is_closed = False

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        return await self._ask(lambda kept: kept.get_many(refs))

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        async with self._entered() as kept:
            async for meta in kept.list(prefix):
                yield meta

    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        return await self._ask(lambda kept: _surveyor(kept).survey(refs))

    async def validate(self) -> None:
        if self._kept is not None and not await self._door.is_as_opened():
            await self._leave()
        await self._ask(lambda kept: kept.validate())

    async def close(self) -> None:
        self._is_closed = True
        await self._leave()

    async def put(
        self,
        key: str,
        data: Sensitive,
        *,
        token: str,
        expect: str | None = None,
        stage: str = CURRENT,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        return await self._ask(lambda kept: _writer(kept).put(key, data, token=token, expect=expect, stage=stage, tags=tags))

    async def promote(self, key: str, version: str) -> None:
        await self._ask(lambda kept: _writer(kept).promote(key, version))

    async def versions(self, key: str) -> Sequence[Version]:
        return await self._ask(lambda kept: _writer(kept).versions(key))

    async def delete(self, key: str, *, purge: bool = False) -> None:
        await self._ask(lambda kept: _writer(kept).delete(key, purge=purge))

    async def undelete(self, key: str) -> None:
        await self._ask(lambda kept: _writer(kept).undelete(key))

    async def _ask(self, call: Callable[[Provider], Awaitable[_T]]) -> _T:
        async with self._entered() as kept:
            return await call(kept)

    @asynccontextmanager
    async def _entered(self) -> AsyncIterator[Provider]:
        try:
            yield await self._opened()
        except ProviderError as error:
            # The log-in may be another one by now: it is read anew for the next call.
            if isinstance(error, AuthFailed):
                await self._leave()
            # The driver's error that it was made of, in whose words there can be anything.
            error.__cause__ = error.__context__ = None
            raise

    async def _opened(self) -> Provider:
        async with self._turn:
            if self._is_closed:
                raise Unavailable("the provider is closed")
            if self._kept is None:
                self._kept = await _open(self._door)
            return self._kept

    async def _leave(self) -> None:
        async with self._turn:
            kept, self._kept = self._kept, None
        if kept is not None:
            await kept.close()


async def _open(door: Door) -> Provider:
    try:
        return await door.open()
    except ProviderError:
        raise
    except KeyturnError as error:  # of the key, or of the schema: ours, and for whoever gave them
        failure = AuthFailed(str(error))
    raise failure


def _surveyor(kept: Provider) -> Surveyor:
    assert isinstance(kept, Surveyor)
    return kept


def _writer(kept: Provider) -> Writer:
    assert isinstance(kept, Writer)
    return kept
