"""Secrets in a database: read, listed, surveyed and written. The one keeper of values that is our own.

One query for any number of values, and one transaction for a change. What was changed by somebody else than us is
`Invalid`, at a read for the one reference that it concerns. Decrypts many values in a thread.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import select

from keyturn.model.errors import Invalid, KeyturnError, NotFound, ProviderError, Unavailable
from keyturn.model.material import CURRENT, PENDING, Cap, Meta, SourceRef, Survey, Value, Version
from keyturn.model.sensitive import Sensitive
from keyturn.store.change import Change
from keyturn.store.cipher import Tampered, UnknownKey
from keyturn.store.connection import AsyncConnection
from keyturn.store.keys import Keyholder, KeyMoved, check_active
from keyturn.store.parts import TOO_MANY, parts
from keyturn.store.reading import (
    LARGEST_VALUE,
    LONGEST_LIST,
    MOST_LISTED,
    STAGES,
    answers_of,
    fingerprint_of,
    list_query,
    meta_of,
    read_query,
    size_of,
    survey_query,
    version_of,
)
from keyturn.store.rows import check_secret, check_version
from keyturn.store.tables import secrets, versions

log = logging.getLogger("keyturn.store")

_T = TypeVar("_T")

LONGEST_NAME: Final = 2048
LARGEST_TAGS: Final = 16 << 10
"""Bytes."""

_AT_ONCE: Final = 1000
_IN_A_SURVEY: Final = 10_000
_TRIES: Final = 3
_MUCH: Final = 20  # values whose opening takes a millisecond, where they are not long
_LONG: Final = 64 << 10  # bytes
_FOR_A_REF: Final = 4  # rows: one, but for what somebody else wrote


class SqlValues:
    """The secrets of one store of a database; several stores in one database know nothing of each other.

    ``holder`` was opened. Where it ``owns_database``, that is closed with it.
    """

    caps: Final = (
        Cap.GET | Cap.GET_MANY | Cap.LIST | Cap.LIST_HAS_VERSION | Cap.VERSIONS | Cap.SURVEY
        | Cap.PUT | Cap.CAS | Cap.DELETE | Cap.UNDELETE | Cap.STAGE | Cap.TAGS
    )  # fmt: skip

    def __init__(
        self,
        holder: Keyholder,
        store: str,
        *,
        owns_database: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._holder = holder
        self._database = holder.database
        self._ring = holder.ring
        self._store = store
        self._owns_database = owns_database
        self._clock = clock
        self._is_closed = False

    # -- reading ----------------------------------------------------------------------------------------------------------------

    async def get_many(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        found: dict[SourceRef, Value | ProviderError] = {ref: problem for ref in refs if (problem := _problem(ref)) is not None}
        opened = self._holder.opened
        asked = list(dict.fromkeys(ref for ref in refs if ref not in found))
        for start in range(0, len(asked), _AT_ONCE):
            found |= await self._read(asked[start : start + _AT_ONCE])
        locked = [ref for ref, answer in found.items() if isinstance(answer, UnknownKey | Tampered)]
        if locked and await self._learns_more_than(opened):  # another process writes under a new key already
            found |= await self._read(locked)
        return found

    async def _read(self, refs: Sequence[SourceRef]) -> Mapping[SourceRef, Value | ProviderError]:
        rows: list[dict[str, Any]] = []
        query = read_query(self._store, refs)
        if len(refs) <= _MUCH:
            async with self._reading() as connection:
                rows += [dict(row) for row in (await connection.execute(query)).mappings()]
        else:
            async with self._reading() as connection:
                async for part in parts(connection, query, len(refs) * _FOR_A_REF):
                    rows += [dict(row) for row in part]
        if len(rows) > len(refs) * _FOR_A_REF:
            raise Invalid(TOO_MANY)
        work = partial(answers_of, self._ring, self._store, rows, refs)
        return await asyncio.to_thread(work) if len(refs) > _MUCH or sum(map(size_of, rows)) > _LONG else work()

    async def list(self, prefix: str = "") -> AsyncIterator[Meta]:
        seen = size = 0
        async with self._reading() as connection, connection.stream(list_query(self._store, prefix)) as found:
            async for part in found:
                seen, size = seen + len(part), size + sum(map(size_of, part))
                # Whoever lists keeps it all. The operator's own database is as large as whoever runs it wants.
                if self._owns_database and (seen > MOST_LISTED or size > LONGEST_LIST):
                    break
                for row in part:
                    yield meta_of(row)
            else:
                return
        raise Invalid(f"a list has at most {MOST_LISTED} secrets, and {LONGEST_LIST >> 20} MiB of names and tags")

    async def survey(self, refs: Sequence[SourceRef]) -> Survey:
        names = list(dict.fromkeys(ref.key for ref in refs if not ref.version and _problem(ref) is None))
        told: dict[SourceRef, str] = {}
        calls = 0
        for start in range(0, len(names), _IN_A_SURVEY):
            query = survey_query(self._store, names[start : start + _IN_A_SURVEY])
            calls += 1
            async with self._reading() as connection:
                async for part in parts(connection, query, _IN_A_SURVEY):
                    told |= {SourceRef(row["name"]): fingerprint_of(row) for row in part}
        return Survey(told, len(names), calls or 1)

    async def versions(self, key: str) -> Sequence[Version]:
        if (problem := _problem(SourceRef(key))) is not None:
            raise problem
        opened = self._holder.opened
        try:
            return await self._versions(key)
        except (UnknownKey, Tampered):
            if not await self._learns_more_than(opened):
                raise
        return await self._versions(key)

    async def _versions(self, key: str) -> Sequence[Version]:
        async with self._reading() as connection:
            secret = await _one(connection, select(secrets).where(secrets.c.store == self._store, secrets.c.name == key))
            if secret is None:
                raise NotFound(f"{key} is not in the database")
            columns = [column for column in versions.c if column is not versions.c.token]
            asked = select(*columns).where(versions.c.secret_id == secret["id"]).order_by(versions.c.version.desc())
            rows = [dict(row) for row in (await connection.execute(asked)).mappings()]
        check_secret(self._ring, secret)
        for row in rows:
            check_version(self._ring, self._store, key, row)
        if not rows:
            raise NotFound(f"{key} is not in the database")
        is_deleted = secret["deleted_at"] is not None
        return [version_of(row, is_deleted=is_deleted) for row in rows]

    async def validate(self) -> None:
        async with self._reading() as connection:
            await connection.execute(select(secrets.c.id).limit(1))

    async def close(self) -> None:
        self._is_closed = True
        if self._owns_database:
            await self._database.close()

    # -- writing ----------------------------------------------------------------------------------------------------------------

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
        _check_put(key, data, token, stage, tags or {})
        return str(await self._change(key, lambda change: change.put(data, token, expect, stage, tags)))

    async def promote(self, key: str, version: str) -> None:
        _check_name(key)
        if (number := _number(version)) is None:
            raise NotFound(f"{key}: versions here have numbers")
        await self._change(key, lambda change: change.promote(number))

    async def delete(self, key: str, *, purge: bool = False) -> None:
        _check_name(key)
        await self._change(key, Change.purge if purge else Change.delete)

    async def undelete(self, key: str) -> None:
        _check_name(key)
        await self._change(key, Change.undelete)

    # -- both -------------------------------------------------------------------------------------------------------------------

    async def _change(self, key: str, work: Callable[[Change], Awaitable[_T]]) -> _T:
        """Does the work in a transaction of its own, under the key that is active then."""
        for _ in range(_TRIES):
            opened = self._holder.opened
            try:
                async with self._writing() as connection:
                    await check_active(connection, self._ring)
                    return await work(await Change.begin(connection, self._ring, self._store, key, self._clock()))
            except (KeyMoved, UnknownKey):
                if not await self._learns_keys():
                    break
            except Tampered:
                if not await self._learns_more_than(opened):
                    raise
        raise Unavailable("the keys of the database were changed, and this process has not got the new one")

    async def _learns_more_than(self, opened: Mapping[str, bytes]) -> bool:
        """Whether other keys are opened now than these. One that bears the id of another makes rows look changed that are not."""
        return await self._learns_keys() and self._holder.opened != opened

    async def _learns_keys(self) -> bool:
        try:
            await self._holder.refresh()
        except ProviderError:
            raise
        except KeyturnError as error:
            log.warning("the database's keys cannot be followed: %s", error)
            return False
        return True

    def _reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        self._check_open()
        return self._database.reading()

    def _writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        self._check_open()
        return self._database.writing()

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the provider is closed")


async def _one(connection: AsyncConnection, query: Any) -> dict[str, Any] | None:
    found = (await connection.execute(query)).mappings().one_or_none()
    return None if found is None else dict(found)


def _number(version: str) -> int | None:
    """A version's number; None for what no version here is called."""
    return int(version) if version.isascii() and version.isdecimal() and len(version) < 10 and not version.startswith("0") else None


def _problem(ref: SourceRef) -> ProviderError | None:
    try:
        _check_name(ref.key)
    except Invalid as problem:
        return problem.with_traceback(None)
    if ref.version and ref.version not in STAGES and _number(ref.version) is None:
        return NotFound(f"{ref.key}: versions here have numbers, or are current, previous or pending")
    return None


def _check_name(key: str) -> None:
    if not key or not _is_storable(key) or len(key.encode()) > LONGEST_NAME:
        raise Invalid(f"{key[:64]!r} cannot be the name of a secret: 1 to {LONGEST_NAME} bytes of text, without NUL")


def _is_storable(text: str) -> bool:
    """What every database can hold: no NUL, and no half of a character."""
    return "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)


def _check_put(key: str, data: Sensitive, token: str, stage: str, tags: Mapping[str, str]) -> None:
    _check_name(key)
    if len(data) > LARGEST_VALUE:
        raise Invalid(f"{key}: a value has at most {LARGEST_VALUE} bytes")
    if not 32 <= len(token) <= 64 or not token.isascii() or not token.isprintable():
        raise Invalid(f"{key}: a put's token has 32 to 64 plain characters")
    if stage not in {CURRENT, PENDING}:
        raise Invalid(f"{key}: a value is put as {CURRENT} or {PENDING}")
    if (
        not all(map(_is_storable, (*tags, *tags.values())))
        or sum(len(f"{name}{text}".encode()) for name, text in tags.items()) > LARGEST_TAGS
    ):
        raise Invalid(f"{key}: tags have at most {LARGEST_TAGS} bytes of text, without NUL")
