"""The audit trail in a database: added to under the writers' one lock, in one chain, and read back as it lies."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyturn.decide.auditrow import COLUMNS, row_of
from keyturn.decide.hashchain import START, Seal, Walk
from keyturn.model.audit import ACCEPTED, AuditRow, Chained, Head, Question, Term
from keyturn.model.sensitive import Sensitive
from keyturn.store import fence
from keyturn.store.audit_append import SealKey, add_to_file, add_to_server
from keyturn.store.audit_question import wanted
from keyturn.store.audit_reading import PART, parts
from keyturn.store.audit_segments import segments_of
from keyturn.store.audit_tables import log
from keyturn.store.audit_walk import ALONE, Pace, followed
from keyturn.store.cipher import Purpose
from keyturn.store.engine import Database
from keyturn.store.failures import DatabaseRefused
from keyturn.store.keys import Keyholder

OWNS_IT: Final = (
    "the audit trail is not written as the owner of its table, or as a superuser, who could change it unseen: give DATABASE_URL a user of"
    " its own, and DATABASE_OWNER_URL with the owner to keyturn db upgrade, which grants that user what is needed (docs/database.md);"
    " to try things out there is --audit-allow-owner"
)
_MAY_CHANGE_TABLE: Final = f"""
    SELECT coalesce(bool_or(pg_has_role(current_user, relowner, 'MEMBER')), false)
        OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    FROM pg_class WHERE oid = to_regclass('{log}')
"""  # noqa: S608  # our own name
_ALL: Final = (log.c.seq, log.c.entry, log.c.hash, log.c.seal, log.c.seal_key, *(log.c[name] for name in COLUMNS))


def trail_of(holder: Keyholder) -> "AuditTrail":
    """The trail of a database whose keys are open: what is added to it is sealed under the active one."""
    seal = partial(seal_key, holder)
    return AuditTrail(holder.database, lambda: (holder.ring.active, seal(holder.ring.active)), seal)


def seal_key(holder: Keyholder, key_id: str) -> Sensitive | None:
    """By which seals under this master key are made and checked; None where it is not open."""
    return holder.ring.subkey(key_id, Purpose.AUDIT_SEAL)


class AuditTrail:
    """The trail of one database; any number of processes may add to it at a time."""

    def __init__(self, database: Database, seal_key: SealKey, seal: Seal = lambda _: None) -> None:
        self._database = database
        self._seal_key = seal_key
        self._seal = seal

    async def check_user(self) -> None:
        """Raises `DatabaseRefused` where the user whom we are could take the triggers away that keep its rows. SQLite knows no users."""
        if self._database.is_sqlite:
            return
        async with self._database.reading() as connection:
            if await connection.scalar(text(_MAY_CHANGE_TABLE)):
                raise DatabaseRefused(OWNS_IT)

    async def begin(self, office: str, holder: str, at: datetime) -> Term:
        """A new term of this office, by which all before it end. Raises `ProviderError`."""
        async with self._database.writing() as connection:
            return await fence.begin(connection, office, holder, at)

    async def append(self, rows: Sequence[AuditRow], term: Term | None = None) -> Head:
        """Adds these rows, or none of them, and gives the end.

        Those that are there already are passed over, so that a lost answer can be asked again. ``term``: of whoever will act upon
        them, which is proved. Without rows it is seen that the database can be written to.

        Raises `Fenced`, and `ProviderError`: `Invalid` where the database cannot hold one of them.
        """
        if self._database.is_sqlite:
            return await self._database.write_in_one(lambda connection: add_to_file(connection, rows, self._seal_key, term))
        async with self._database.writing() as connection:
            return await add_to_server(connection, rows, self._seal_key, term)

    async def known(self, events: Collection[str]) -> Collection[str]:
        """Those of these rows that are there, or are on their way there. Raises `ProviderError`."""
        await self._writers_done()
        async with self._database.reading() as connection:
            return await _there(connection, log.c.event, events)

    async def head(self) -> Head:
        """Its end; `START` where there is nothing yet. Raises `ProviderError`."""
        async with self._database.reading() as connection:
            return await _head(connection)

    async def holds(self, anchor: Head) -> bool:
        """Whether it has the row that this is an end of, or somebody accepted that it has not. Raises `ProviderError`.

        What was moved into a file it has too, as its segment says: what that says is looked at by `prove`.
        """
        if await self.has(anchor):
            return True
        moved = await segments_of(self._database)
        if any(each.first <= anchor.seq < each.last or each.end == anchor for each in moved):
            return True
        return any(row.target == str(anchor) for row in await self.losses())

    async def has(self, anchor: Head) -> bool:
        """Whether the row that this is an end of stands in the table. Raises `ProviderError`."""
        return bool(await self.find(log.c.seq == anchor.seq, log.c.hash == anchor.hash, most=1))

    async def losses(self, signed_to: int = 0) -> Sequence[AuditRow]:
        """Rows by which somebody accepted a loss, who had a master key: whoever has the database alone could write such a row.

        Up to ``signed_to`` a checkpoint says that of them. Raises `ProviderError`.
        """
        found = await self.find(log.c.action == ACCEPTED, most=PART, newest=True)
        return [row_of(each.texts) for each in found if each.seq <= signed_to or await self._is_sealed(each)]

    async def _is_sealed(self, row: Chained) -> bool:
        before = [Head(each.seq, each.hash) for each in await self.find(log.c.seq == row.seq - 1, most=1)]
        before += [each.end for each in await segments_of(self._database) if each.end.seq == row.seq - 1]
        walk = Walk(self._seal, at=before[0] if before else START)
        return walk.follow([row]) is None and walk.sealed_to == row.seq

    async def rows(self, after: int = 0) -> AsyncIterator[Sequence[Chained]]:
        """All rows behind this number in their order, in parts. Raises `NotOurs` at one that is none of ours, and `ProviderError`."""
        async for part in parts(self._database, after):
            yield part

    async def find(self, *where: ColumnElement[bool], most: int, newest: bool = False) -> Sequence[Chained]:
        """Rows that all of this holds for, in their order: the oldest of them, or the ``newest``."""
        order = log.c.seq.desc() if newest else log.c.seq
        async with self._database.reading() as connection:
            found = (await connection.execute(select(*_ALL).where(*where).order_by(order).limit(most))).all()
        rows = await asyncio.to_thread(lambda: [_chained(each) for each in found])
        return rows[::-1] if newest else rows

    async def open_intents(self, beginning: str, after: int) -> Sequence[AuditRow]:
        """As `unsettled`, those included that a process which has ended sent off before it did."""
        await self._writers_done()
        return await self.unsettled(beginning, after)

    async def unsettled(self, beginning: str = "", after: int = 0) -> Sequence[AuditRow]:
        """Intents behind this row that nothing settles and whose id begins so, the oldest thousand. Raises `ProviderError`."""
        later = log.alias()
        is_settled = select(later.c.seq).where(later.c.settles == log.c.event).exists()
        ours = log.c.event.startswith(beginning, autoescape=True)
        return [row_of(found.texts) for found in await self.find(log.c.seq > after, log.c.outcome == "", ours, ~is_settled, most=PART)]

    async def _writers_done(self) -> None:
        """Waits for whoever writes at this moment. A server carries a COMMIT out although nobody waits for its answer any more."""
        async with self._database.writing():
            pass

    async def verify(self, walk: Walk, pace: Pace = ALONE) -> str:
        """Follows the whole chain; what is wrong with its first bad row, '' where all is as it was written."""
        return str(await followed(self._database, walk, pace) or "")

    async def asked(self, question: Question, limit: int) -> Sequence[Chained]:
        """The newest rows that it asks for. Raises `ProviderError`."""
        return await self.find(*wanted(question), most=limit, newest=True)

    async def settlements(self, events: Collection[str]) -> Sequence[Chained]:
        """Of these intents. Raises `ProviderError`."""
        return await self.find(log.c.settles.in_(events), most=len(events)) if events else []


async def _there(connection: AsyncConnection, column: Column[str], wanted: Collection[str]) -> frozenset[str]:
    return frozenset(await connection.scalars(select(column).where(column.in_(wanted)))) if wanted else frozenset()


async def _head(connection: AsyncConnection) -> Head:
    last = (await connection.execute(select(log.c.seq, log.c.hash).order_by(log.c.seq.desc()).limit(1))).first()
    return Head(last.seq, bytes(last.hash)) if last else START


def _chained(found: Row[Any]) -> Chained:
    """As it lies there, whoever wrote it, in the order of `_ALL`."""
    seq, entry, made, seal, seal_key, *texts = tuple(found)
    columns = dict(zip(COLUMNS, map(str, texts), strict=True))
    return Chained(int(seq), columns, _bytes(entry), _bytes(made), None if seal is None else _bytes(seal), str(seal_key))


def _bytes(value: object) -> bytes:
    """Of a column that somebody may have filled with something else."""
    return bytes(value) if isinstance(value, bytes | memoryview) else b""
