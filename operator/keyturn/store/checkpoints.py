"""The table of checkpoints: written from what was looked at before, and read by whoever checks the trail against it."""

import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, func, insert, literal_column, or_, select

from keyturn.decide.auditrow import moment
from keyturn.decide.checkpoint import checkpoint_of, digest, origin_of, signed_of, text_of
from keyturn.decide.hashchain import START, Seal, Walk, covers
from keyturn.decide.note import split
from keyturn.model.audit import Head, Outcome
from keyturn.model.checkpoint import AuditTampered, Checkpoint, CheckpointRow, Signed
from keyturn.model.errors import Unavailable
from keyturn.model.note import NoteRefused, VerifierKey
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_find import is_there
from keyturn.store.audit_reading import short
from keyturn.store.audit_segments import gap
from keyturn.store.audit_tables import checkpoints, log
from keyturn.store.audit_walk import followed
from keyturn.store.connection import AsyncConnection
from keyturn.store.engine import Database
from keyturn.store.signing import SigningKey, check

ROTATIONS: Final = ("rotation.", "keys.")
"""What the actions of a rotation begin with: of a secret, and of the master key."""

_ORDER: Final = (checkpoints.c.at, checkpoints.c.seq)
_TICK: Final = timedelta(microseconds=1)
_MOST_TICKS: Final = 1_000_000
_FAR: Final = timedelta(days=1)
"""No clock of ours is so far ahead: a time beyond it is none of ours."""


told: Final = logging.getLogger("keyturn.audit")


class CheckpointBook:
    """The checkpoints of one database. Its methods raise `ProviderError` where the database does not answer."""

    def __init__(
        self,
        trail: AuditTrail,
        database: Database,
        seal: Seal,
        key: SigningKey,
        known: Sequence[VerifierKey] = (),
        *,
        proves_clock: bool = False,
    ) -> None:
        """Signed by ``key``; those of ``known`` keys are taken for ours too. ``seal`` is what the trail's rows are looked at with.

        ``proves_clock``: against the database server's.
        """
        self._database, self._seal, self._key = database, seal, key
        self._known = (key.verifier, *known)
        self._trail = trail.signed_by(self._known)
        self._others, self._proves_clock = 0, proves_clock
        self._looked: Head | None = None

    @property
    def vkey(self) -> str:
        """The public half of the key."""
        return str(self._key.verifier)

    async def write(self, now: datetime) -> Signed | None:
        """Signs the end as it is, after all that came since the last checkpoint was looked at; gives the last where nothing came.

        None while the trail is empty. Raises `AuditTampered`: what is not as it was written is not signed.
        """
        last = await self._last()
        walk = Walk(self._seal, at=await self._start(last))
        self._looked = None
        if problem := await followed(self._database, walk, known=self._check):
            raise AuditTampered(f"the audit trail is not as it was written, and is not signed: {problem}")
        self._looked = walk.at
        if bare := walk.bare:
            told.warning("%d rows of the audit trail are under no seal, from row %d on; see keyturn audit verify", _count(bare), bare[0][0])
        if not walk.at.seq:
            return None
        async with self._database.writing() as connection:
            if await self._last_in(connection) != last:
                # Another leader was faster; what came since then is for the next time.
                return await self._last_in(connection)
            if last is not None and last.checkpoint.head == walk.at and last.checkpoint.key == self._key_id:
                return last
            await self._prove_clock(connection, now)
            made = await self._following(connection, last, walk.at, now)
            note = self._key.sign(text_of(made))
            row = CheckpointRow(made.head.seq, moment(made.at), made.key, note)
            await connection.execute(insert(checkpoints).values(seq=row.seq, at=row.at, key_id=row.key_id, note=row.note))
        return Signed(made, note)

    async def _start(self, last: Signed | None) -> Head:
        """From where on it is to be looked: an end that we looked at, or signed."""
        if last is not None and not await self._holds(last.checkpoint):
            raise AuditTampered(f"the audit trail lacks row {last.checkpoint.head.seq}, which was signed, and nothing more of it is signed")
        for head in (self._looked, last.checkpoint.head if last else None):
            if head is not None and await self._trail.has(head):
                return head
        if problem := await gap(self._database, self._check):
            raise AuditTampered(f"rows of the audit trail were moved, and what tells of it is not ours; nothing is signed: {problem}")
        return START

    async def _following(self, connection: AsyncConnection, last: Signed | None, head: Head, now: datetime) -> Checkpoint:
        """The next one. It hangs on the last of ours; where there is none, as after a key was lost, on the newest, whoever wrote that.

        Of one that somebody else put in nothing is taken over but that its time is taken: so it can go without a trace in ours.
        """
        if last is not None:
            if (at := max(now, last.checkpoint.at + _TICK)) > now + _FAR:
                told.warning(
                    "the newest checkpoint is of %s, as a clock was far ahead: until then later ones bear that time, and no loss that is"
                    " accepted covers them but their own; docs/audit.md",
                    moment(last.checkpoint.at),
                )
            return Checkpoint(last.checkpoint.origin, head, digest(text_of(last.checkpoint)), await _free(connection, at), self._key_id)
        previous, at = b"", now
        before = await _newest(connection, checkpoints.c.at <= moment(now + _FAR))
        if before is not None and (said := _said(before)) is not None:
            previous, at = digest(text_of(said)), max(at, said.at + _TICK)
        first = await connection.scalar(select(literal_column("hash")).select_from(log).order_by(log.c.seq).limit(1))
        return Checkpoint(origin_of(first if isinstance(first, bytes) else b""), head, previous, await _free(connection, at), self._key_id)

    async def _prove_clock(self, connection: AsyncConnection, now: datetime) -> None:
        """Raises `Unavailable` where our clock is far ahead of the server's: what we signed would be of a time that nobody can follow."""
        if self._proves_clock and not self._database.is_sqlite:
            there: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
            if now > there + _FAR:
                raise Unavailable(
                    f"this machine's clock says {moment(now)}, more than a day ahead of the database's ({moment(there.astimezone(UTC))}):"
                    " nothing is signed of such a time; set the wrong one right"
                )

    async def _last(self) -> Signed | None:
        async with self._database.reading() as connection:
            return await self._last_in(connection)

    async def _last_in(self, connection: AsyncConnection) -> Signed | None:
        """The newest that one of our keys signed. Those of others say nothing, which is told once: see `keyturn audit verify`."""
        others, found = 0, None
        while found is None and (row := await _newest(connection, after=others)) is not None:
            if (found := self._ours(row)) is None:
                others += 1
        if others and others != self._others:
            told.warning(
                "%d checkpoints in the database are not signed by us or a known key, and say nothing: see keyturn audit verify", others
            )
        self._others = others
        return found

    def _ours(self, row: CheckpointRow) -> Signed | None:
        with suppress(NoteRefused):
            signed = signed_of(row.note, self._check)
            return signed if _agrees(row, signed.checkpoint) else None
        return None

    @property
    def _key_id(self) -> str:
        return self._key.verifier.id.hex()

    async def presses(self, after: int) -> tuple[int, bool]:
        """Up to which row it was looked now, from ``after`` on, and whether one of them wants a checkpoint soon."""
        rotations = (log.c.action.startswith(each, autoescape=True) for each in ROTATIONS)
        wanted = or_(log.c.outcome == Outcome.DENIED, *rotations)
        head = await self._trail.head()
        return head.seq, await is_there(self._database, log.c.seq > after, log.c.seq <= head.seq, wanted)

    async def lost(self, note: str) -> Sequence[Signed]:
        """Of this note (or '') and its own newest checkpoint those whose row it lacks, though nobody accepted that.

        Raises `NoteRefused` where the note is not signed by us, or is of another trail than this one, which we signed.
        """
        ours = [signed_of(note, self._check)] if note else []
        last = await self._last()
        if (
            ours
            and last is not None
            and ours[0].checkpoint.origin != last.checkpoint.origin
            and await self._trail.holds(last.checkpoint.head)
        ):
            # Of an operator of another class, say. Where this trail has no checkpoint that holds, it may well be the one that is another.
            raise NoteRefused("it is of another trail, which the same key signs")
        found = [*ours, *([last] if last is not None and last not in ours else [])]
        return [each for each in found if not await self._holds(each.checkpoint)]

    def is_newer(self, note: str, signed: Signed) -> bool:
        """Whether this note is signed by us, of that trail, and later than that one."""
        with suppress(NoteRefused):
            found, made = signed_of(note, self._check).checkpoint, signed.checkpoint
            return found.origin == made.origin and found.at > made.at
        return False

    async def renew(self) -> None:
        """Asks over new connections from now on."""
        await self._database.renew()

    def _check(self, note: str) -> str:
        return check(note, self._known)

    async def _holds(self, wanted: Checkpoint) -> bool:
        if await self._trail.holds(wanted.head):
            return True
        return any(covers(row, wanted.head, wanted.at) for row in await self._trail.losses())


async def _free(connection: AsyncConnection, at: datetime) -> datetime:
    """This time, or one soon after it that no other row has: somebody may have put one there."""
    while await connection.scalar(select(literal_column("1")).select_from(checkpoints).where(checkpoints.c.at == moment(at))):
        at += secrets.randbelow(_MOST_TICKS) * _TICK
    return at


async def newest_of(database: Database) -> CheckpointRow | None:
    """The last one in the table, as it lies there. Raises `ProviderError`."""
    async with database.reading() as connection:
        return await _newest(connection)


async def rows_of(database: Database) -> Sequence[CheckpointRow]:
    """All of the table in the order of their times. Raises `ProviderError`."""
    async with database.reading() as connection:
        found = await connection.execute(select(*_columns(connection)).select_from(checkpoints).order_by(*_ORDER))
        return [_row(each) for each in found.all()]


async def _newest(connection: AsyncConnection, *where: ColumnElement[bool], after: int = 0) -> CheckpointRow | None:
    """The newest but ``after`` others."""
    newest = select(*_columns(connection)).select_from(checkpoints).where(*where).order_by(*(column.desc() for column in _ORDER))
    found = (await connection.execute(newest.limit(1).offset(after))).first()
    return _row(found) if found else None


def _columns(connection: AsyncConnection) -> Sequence[ColumnElement[Any]]:
    return literal_column("seq"), *(short(connection, name, "") for name in ("at", "key_id", "note"))


def _row(found: Row[Any]) -> CheckpointRow:
    seq, *texts = tuple(found)
    at, key_id, note = (each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in texts)
    return CheckpointRow(seq if isinstance(seq, int) else 0, at, key_id, note)


def _said(row: CheckpointRow) -> Checkpoint | None:
    """What it says, whoever signed it; None where it is no checkpoint, or another than its columns say."""
    with suppress(NoteRefused):
        said = checkpoint_of(split(row.note)[0])
        return said if _agrees(row, said) else None
    return None


def _agrees(row: CheckpointRow, said: Checkpoint) -> bool:
    return (row.seq, row.at, row.key_id) == (said.head.seq, moment(said.at), said.key)


def _count(stretches: Sequence[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in stretches)
