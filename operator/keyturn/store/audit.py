"""The audit trail in a database: added to under the writers' one lock, in one chain, and read back as it lies."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Column, ColumnElement, literal_column, select, text

from keyturn.decide.auditrow import row_of
from keyturn.decide.hashchain import START, Seal
from keyturn.model.audit import AuditRow, Chained, Head, Question, Term
from keyturn.model.checkpoint import AuditTampered
from keyturn.model.note import VerifierKey
from keyturn.model.sensitive import Sensitive
from keyturn.store import fence
from keyturn.store.audit_append import Scribe, SealKey, add_to_file, add_to_server
from keyturn.store.audit_find import all_of, is_there, matching
from keyturn.store.audit_losses import excused, losses
from keyturn.store.audit_question import wanted
from keyturn.store.audit_reading import PART, SEQ
from keyturn.store.audit_segments import shelved
from keyturn.store.audit_tables import log
from keyturn.store.cipher import Purpose
from keyturn.store.connection import AsyncConnection
from keyturn.store.engine import Database
from keyturn.store.failures import DatabaseRefused
from keyturn.store.keys import Keyholder, KeyMoved

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

Known = Callable[[], Awaitable[Sequence[VerifierKey]]]
"""Gives the public keys by which what is signed is ours; it may have to ask for them."""


async def nobody() -> Sequence[VerifierKey]:
    """No key is known."""
    return ()


def trail_of(holder: Keyholder, known: Known = nobody) -> "AuditTrail":
    """The trail of a database whose keys are open: what is added to it is sealed under the active one."""
    seal = cache_of(partial(seal_key, holder))
    return AuditTrail(holder.database, lambda: (holder.ring.active, seal(holder.ring.active)), seal, known, holder.refresh)


def cache_of(seal: Seal) -> Seal:
    """Knows keys of seals also after a rotation dropped their master key: the last row may be under one."""
    known: dict[str, Sensitive] = {}

    def find(key_id: str) -> Sensitive | None:
        if (key := seal(key_id)) is not None:
            known[key_id] = key
        return known.get(key_id)

    return find


def seal_key(holder: Keyholder, key_id: str) -> Sensitive | None:
    """By which seals under this master key are made and checked; None where it is not open."""
    return holder.ring.subkey(key_id, Purpose.AUDIT_SEAL)


class AuditTrail:
    """The trail of one database; any number of processes may add to it at a time."""

    def __init__(
        self,
        database: Database,
        seal_key: SealKey,
        seal: Seal | None = None,
        known: Known = nobody,
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``seal`` has the keys of seals: with them each `append` proves that the end is ours. ``known`` tells whose signature makes a
        segment ours. ``refresh`` takes over other master keys.
        """
        self._database = database
        self._scribe = Scribe(seal_key, seal)
        self._seal: Seal = seal or (lambda _: None)
        self._known = known
        self._refresh = refresh

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

    async def append(self, rows: Sequence[AuditRow], term: Term | None = None, *, onto: Head | None = None) -> Head:
        """Adds these rows, or none of them, and gives the end.

        Those that are there already are passed over, so that a lost answer can be asked again. ``term``: of whoever will act upon
        them, which is proved. ``onto``: an end that somebody accepted, though it may not be ours. Without rows it is seen that the
        database can be written to.

        Raises `AuditTampered` where somebody else wrote there, `Fenced`, and `ProviderError`: `Invalid` where the database cannot
        hold one of them.
        """
        try:
            end = await self._append(rows, term, onto)
        except KeyMoved:
            if self._refresh is None:
                raise
            await self._refresh()
            end = await self._append(rows, term, onto)
        self._scribe.seen = max(self._scribe.seen, end, key=lambda head: head.seq)
        return end

    async def _append(self, rows: Sequence[AuditRow], term: Term | None, onto: Head | None) -> Head:
        scribe = self._scribe
        if self._database.is_sqlite:
            return await self._database.write_in_one(lambda connection: add_to_file(connection, rows, scribe, term, onto))
        async with self._database.writing() as connection:
            return await add_to_server(connection, rows, scribe, term, onto)

    async def known(self, events: Collection[str]) -> Collection[str]:
        """Those of these rows that are there, or are on their way there. Raises `ProviderError`."""
        await self._writers_done()
        async with self._database.reading() as connection:
            return await _there(connection, log.c.event, events)

    async def head(self) -> Head:
        """Its end; `START` where there is nothing yet. Raises `ProviderError`."""
        async with self._database.reading() as connection:
            return await _head(connection)

    async def renew(self) -> None:
        """Asks over new connections from now on."""
        await self._database.renew()

    def signed_by(self, keys: Sequence[VerifierKey]) -> "AuditTrail":
        """The same, where segments that one of these keys signed are ours."""

        async def known() -> Sequence[VerifierKey]:
            return keys

        return AuditTrail(self._database, self._scribe.seal_key, self._scribe.seal, known, self._refresh)

    async def holds(self, anchor: Head, writer: str = "") -> bool:
        """Whether it has the row that this is an end of, or somebody accepted that it has not; see `excused` for ``writer``.

        What was moved into a file it has too, as its segments say: where one of our keys signed them, and the rows that are there
        follow them. Without a key at hand nobody knows that. Raises `ProviderError`, and what tells the keys raises.
        """
        if await self.has(anchor):
            return True
        for each in await shelved(self._database, await self._known()):
            if each.first <= anchor.seq < each.last or each.end == anchor:
                return True
        return await excused(self._database, self._seal, anchor, writer)

    async def has(self, anchor: Head) -> bool:
        """Whether the row that this is an end of stands in the table. Raises `ProviderError`."""
        return await is_there(self._database, log.c.seq == anchor.seq, log.c.hash == anchor.hash)

    async def losses(self) -> Sequence[AuditRow]:
        """Rows by which somebody accepted a loss, who had a master key. Raises `AuditTampered` and `ProviderError`."""
        return [row async for _, row in losses(self._database, self._seal)]

    async def find(self, *where: ColumnElement[bool], most: int, newest: bool = False) -> Sequence[Chained]:
        """Rows that all of this holds for, in their order: the oldest of them, or the ``newest``.

        Raises `AuditTampered` at one that is none of ours, `AnswerTooLarge`, and `ProviderError`.
        """
        return await all_of(self._database, where, most, newest=newest)

    async def open_intents(self, beginning: str, after: int, upto: int | None = None) -> Mapping[int, AuditRow]:
        """As `unsettled`, at the end those included that a process which has ended sent off before it did."""
        if upto is None:
            await self._writers_done()
        return await self.unsettled(beginning, after, upto)

    async def unsettled(self, beginning: str = "", after: int = 0, upto: int | None = None) -> Mapping[int, AuditRow]:
        """Intents behind this row, and ``upto`` that one, that nothing settles and whose id begins so: the oldest, some hundred at most.

        Raises `AuditTampered` at one that is none of ours, and `ProviderError`.
        """
        later = log.alias()
        is_settled = select(later.c.seq).where(later.c.settles == log.c.event).exists()
        ours = log.c.event.startswith(beginning, autoescape=True)
        there = (log.c.seq > after,) if upto is None else (log.c.seq > after, log.c.seq <= upto)
        async for part in matching(self._database, (*there, log.c.outcome == "", ours, ~is_settled), PART):
            return {found.seq: row_of(found.texts) for found in part}
        return {}

    async def _writers_done(self) -> None:
        """Waits for whoever writes at this moment. A server carries a COMMIT out although nobody waits for its answer any more."""
        async with self._database.writing():
            pass

    async def asked(self, question: Question, limit: int) -> Sequence[Chained]:
        """The newest rows that it asks for. Raises as `find`."""
        return await self.find(*wanted(question), most=limit, newest=True)

    async def settlements(self, events: Collection[str]) -> Sequence[Chained]:
        """Of these intents. Raises as `find`."""
        return await self.find(log.c.settles.in_(events), most=len(events)) if events else []


async def _there(connection: AsyncConnection, column: Column[str], wanted: Collection[str]) -> frozenset[str]:
    return frozenset(await connection.scalars(select(column).where(column.in_(wanted)))) if wanted else frozenset()


async def _head(connection: AsyncConnection) -> Head:
    last = (await connection.execute(select(SEQ, literal_column("hash")).select_from(log).order_by(log.c.seq.desc()).limit(1))).first()
    if last is None:
        return START
    seq, made = tuple(last)
    if type(seq) is not int or type(made) is not bytes:
        raise AuditTampered(f"the audit trail is not as it was written: its last row has no number or no hash: {repr(seq)[:40]}")
    return Head(seq, made)
