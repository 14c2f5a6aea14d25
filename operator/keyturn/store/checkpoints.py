"""The table of checkpoints: written from what was looked at before, and read by whoever checks the trail against it."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, LargeBinary, Row, cast, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from keyturn.decide.auditrow import moment
from keyturn.decide.checkpoint import checkpoint_of, digest, origin_of, signed_of, text_of
from keyturn.decide.hashchain import START, Seal, Walk, covers
from keyturn.decide.note import split
from keyturn.model.audit import Head, Outcome
from keyturn.model.checkpoint import AuditTampered, Checkpoint, CheckpointRow, Signed
from keyturn.model.note import NoteRefused, VerifierKey
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_tables import checkpoints, log
from keyturn.store.engine import Database
from keyturn.store.signing import SigningKey, check

ROTATIONS: Final = "rotation."
"""What the actions of a rotation begin with."""

_ORDER: Final = (checkpoints.c.at, checkpoints.c.seq)
_TICK: Final = timedelta(microseconds=1)


told: Final = logging.getLogger("keyturn.audit")


class CheckpointBook:
    """The checkpoints of one database. Its methods raise `ProviderError` where the database does not answer."""

    def __init__(self, trail: AuditTrail, database: Database, seal: Seal, key: SigningKey, known: Sequence[VerifierKey] = ()) -> None:
        """Signed by ``key``; those of ``known`` keys are taken for ours too. ``seal`` is what the trail's rows are looked at with."""
        self._trail, self._database, self._seal, self._key = trail, database, seal, key
        self._known = (key.verifier, *known)
        self._looked: Head | None = None

    @property
    def vkey(self) -> str:
        """The public half of the key."""
        return str(self._key.verifier)

    async def write(self, now: datetime) -> Signed | None:
        """Signs the end as it is, after all that came since the last checkpoint was looked at; gives the last where nothing came.

        None while the trail is empty. Raises `AuditTampered`: what is not as it was written is not signed.
        """
        newest = await newest_of(self._database)
        before = _checkpoint(newest)
        walk = Walk(self._seal, at=self._looked or (before.head if before and await self._trail.holds(before.head) else START))
        self._looked = None
        if problem := await self._trail.verify(walk):
            raise AuditTampered(f"the audit trail is not as it was written, and is not signed: {problem}")
        self._looked = walk.at
        if bare := walk.bare:
            told.warning("%d rows of the audit trail are under no seal, from row %d on; see keyturn audit verify", _count(bare), bare[0][0])
        if not walk.at.seq:
            return None
        async with self._database.writing() as connection:
            last = await _newest(connection)
            if last != newest:
                # Another leader was faster; what came since then is for the next time.
                return self._signed(last)
            if before is not None and before.head == walk.at and before.key == self._key_id:
                return self._signed(newest)
            first = await connection.scalar(select(log.c.hash).order_by(log.c.seq).limit(1))
            made = self._following(newest, walk.at, origin_of(bytes(first or b"")), now)
            note = self._key.sign(text_of(made))
            row = CheckpointRow(made.head.seq, moment(made.at), made.key, note)
            await connection.execute(insert(checkpoints).values(seq=row.seq, at=row.at, key_id=row.key_id, note=row.note))
        return Signed(made, note)

    def _following(self, newest: CheckpointRow | None, head: Head, origin: str, now: datetime) -> Checkpoint:
        before = _checkpoint(newest)
        if newest is None or before is None:
            return Checkpoint(origin, head, b"", now, self._key_id)
        return Checkpoint(before.origin, head, digest(split(newest.note)[0]), max(now, before.at + _TICK), self._key_id)

    def _signed(self, row: CheckpointRow | None) -> Signed | None:
        found = _checkpoint(row)
        return Signed(found, row.note) if row and found else None

    @property
    def _key_id(self) -> str:
        return self._key.verifier.id.hex()

    async def presses(self, after: int) -> tuple[int, bool]:
        """Up to which row it was looked now, from ``after`` on, and whether one of them wants a checkpoint soon."""
        wanted = or_(log.c.outcome == Outcome.DENIED, log.c.action.startswith(ROTATIONS, autoescape=True))
        head = await self._trail.head()
        return head.seq, bool(await self._trail.find(log.c.seq > after, log.c.seq <= head.seq, wanted, most=1))

    async def lost(self, note: str) -> Signed | None:
        """Of this note (or '') and its own newest checkpoint the first whose row it lacks, though nobody accepted that.

        Raises `NoteRefused` where the note is not signed by us.
        """
        ours = [signed_of(note, self._check)] if note else []
        newest = await newest_of(self._database)
        # One of a key that is not ours any more, or somebody's, says nothing: `keyturn audit verify` tells of it.
        signed_to = 0
        with suppress(NoteRefused):
            ours += [signed_of(newest.note, self._check)] if newest is not None else []
            signed_to = ours[-1].checkpoint.head.seq if newest is not None and await self._trail.holds(ours[-1].checkpoint.head) else 0
        for signed in ours:
            if not await self._holds(signed.checkpoint, signed_to):
                return signed
        return None

    def is_newer(self, note: str, signed: Signed) -> bool:
        """Whether this note is signed by us, and later than that one."""
        with suppress(NoteRefused):
            return signed_of(note, self._check).checkpoint.at > signed.checkpoint.at
        return False

    def _check(self, note: str) -> str:
        return check(note, self._known)

    async def _holds(self, wanted: Checkpoint, signed_to: int) -> bool:
        if await self._trail.holds(wanted.head):
            return True
        return any(covers(row, wanted.head, wanted.at) for row in await self._trail.losses(signed_to))


async def newest_of(database: Database) -> CheckpointRow | None:
    """The last one in the table, as it lies there. Raises `ProviderError`."""
    async with database.reading() as connection:
        return await _newest(connection)


async def rows_of(database: Database) -> Sequence[CheckpointRow]:
    """All of the table in the order of their times. Raises `ProviderError`."""
    async with database.reading() as connection:
        found = await connection.execute(select(*_columns(connection)).order_by(*_ORDER))
        return [_row(each) for each in found.all()]


async def _newest(connection: AsyncConnection) -> CheckpointRow | None:
    newest = select(*_columns(connection)).order_by(*(column.desc() for column in _ORDER)).limit(1)
    found = (await connection.execute(newest)).first()
    return _row(found) if found else None


def _columns(connection: AsyncConnection) -> Sequence[ColumnElement[Any]]:
    """SQLite holds bytes in a column of text that are none, on which its driver would fail."""
    texts: Sequence[ColumnElement[Any]] = (checkpoints.c.at, checkpoints.c.key_id, checkpoints.c.note)
    return checkpoints.c.seq, *(cast(each, LargeBinary) if connection.dialect.name == "sqlite" else each for each in texts)


def _row(found: Row[Any]) -> CheckpointRow:
    seq, *texts = tuple(found)
    at, key_id, note = (each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in texts)
    return CheckpointRow(seq if isinstance(seq, int) else 0, at, key_id, note)


def _checkpoint(row: CheckpointRow | None) -> Checkpoint | None:
    """What the row says, whoever signed it. Raises `AuditTampered` where it is no checkpoint."""
    try:
        return checkpoint_of(split(row.note)[0]) if row is not None else None
    except NoteRefused as problem:
        raise AuditTampered(f"the checkpoint of row {row.seq if row else 0} is not as it was written: {problem}") from None


def _count(stretches: Sequence[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in stretches)
