"""The audit trail in a database: added to under the writers' one lock, in one chain, and read back as it lies."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, RowMapping, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from keyturn.decide.auditrow import moment, spelled
from keyturn.decide.hashchain import START, Walk, chained
from keyturn.model.audit import AuditRow, Chained, Head
from keyturn.model.sensitive import Sensitive
from keyturn.store.audit_tables import log
from keyturn.store.engine import Database

PART: Final = 1000
"""Rows that are read at once."""

_NAMES: Final = ("event", "actor", "action", "subject", "target", "trigger", "attempt", "settles", "outcome", "reason")
_names: Final = msgspec.json.Decoder(tuple[str, ...])
_details: Final = msgspec.json.Decoder(dict[str, str])

SealKey = Callable[[], tuple[str, Sensitive | None]]
"""The master key that seals are made under now: its id, and the subkey for seals; ('', None) makes none."""


class AuditTrail:
    """The trail of one database; any number of processes may add to it at a time."""

    def __init__(self, database: Database, seal_key: SealKey) -> None:
        self._database = database
        self._seal_key = seal_key

    async def append(self, rows: Sequence[AuditRow]) -> None:
        """Adds these rows, or none of them; those that are there already are passed over, so that a lost answer can be asked again.

        Raises `ProviderError`: `Invalid` where the database cannot hold one of them.
        """
        async with self._database.writing() as connection:
            known = set(await connection.scalars(select(log.c.event).where(log.c.event.in_([row.event for row in rows]))))
            key_id, key = self._seal_key()
            made = chained([row for row in rows if row.event not in known], await _head(connection), key, key_id)
            if made:
                await connection.execute(insert(log), [_columns(each) for each in made])

    async def head(self) -> Head:
        """Its end; `START` where there is nothing yet. Raises `ProviderError`."""
        async with self._database.reading() as connection:
            return await _head(connection)

    async def rows(self, after: int = 0) -> AsyncIterator[Sequence[Chained]]:
        """All rows behind this number in their order, in parts. Raises `ProviderError`."""
        while found := await self.find(log.c.seq > after, most=PART):
            yield found
            after = found[-1].seq

    async def find(self, *where: ColumnElement[bool], most: int, newest: bool = False) -> Sequence[Chained]:
        """Rows that all of this holds for, in their order: the oldest of them, or the ``newest``."""
        order = log.c.seq.desc() if newest else log.c.seq
        async with self._database.reading() as connection:
            found = (await connection.execute(select(log).where(*where).order_by(order).limit(most))).mappings().all()
        rows = await asyncio.to_thread(lambda: [_row(each) for each in found])
        return rows[::-1] if newest else rows

    async def open_intents(self) -> Sequence[Chained]:
        """Those that nothing settles."""
        settled = select(log.c.settles).where(log.c.settles != "")
        return await self.find(log.c.settles == "", log.c.event.not_in(settled), most=PART)

    async def verify(self, walk: Walk) -> str:
        """Follows the whole chain; what is wrong with its first bad row, '' where all is as it was written."""
        async for part in self.rows(walk.at.seq):
            if problem := await asyncio.to_thread(walk.follow, part):
                return str(problem)
        return ""


async def _head(connection: AsyncConnection) -> Head:
    last = (await connection.execute(select(log.c.seq, log.c.hash).order_by(log.c.seq.desc()).limit(1))).first()
    return Head(last.seq, bytes(last.hash)) if last else START


def _columns(made: Chained) -> Mapping[str, Any]:
    row = made.row
    texts = {name: getattr(row, name) for name in _NAMES}
    chain = {"seq": made.seq, "entry": made.entry, "hash": made.hash, "seal": made.seal, "seal_key": made.seal_key}
    return texts | chain | {"at": moment(row.at), "keys": spelled(row.keys), "details": spelled(row.details)}


def _row(found: RowMapping) -> Chained:
    """As it lies there, whoever wrote it: what is none of ours comes out as a row that cannot be in the chain."""
    row = AuditRow(
        at=_time(found["at"]),
        keys=_decoded(_names, found["keys"], ()),
        details=_decoded(_details, found["details"], {}),
        **{name: str(found[name]) for name in _NAMES},
    )
    entry, made = (found[name] if isinstance(found[name], bytes) else b"" for name in ("entry", "hash"))
    return Chained(int(found["seq"]), row, entry, made, found["seal"], str(found["seal_key"]))


def _time(text: object) -> datetime:
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _decoded(decoder: msgspec.json.Decoder[Any], text: object, otherwise: Any) -> Any:
    try:
        found = decoder.decode(str(text))
    except msgspec.MsgspecError:
        return otherwise
    # Spelled otherwise than we do, it would decode to the same, and pass for what we wrote.
    return found if spelled(found) == text else otherwise
