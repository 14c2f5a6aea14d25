"""Rows by which somebody accepted that rows of the audit trail are lost, and what they excuse.

Who had a master key wrote them: whoever has the database alone could write such a row, and only its own seal says that of one.
"""

from collections.abc import AsyncIterator

from sqlalchemy import ColumnElement

from keyturn.decide.auditrow import row_of
from keyturn.decide.hashchain import START, Seal, Walk, is_under
from keyturn.model.audit import ACCEPTED, AuditRow, Chained, Head
from keyturn.store.audit_find import is_there, matching
from keyturn.store.audit_reading import head_at
from keyturn.store.audit_segments import segments_of
from keyturn.store.audit_tables import log
from keyturn.store.engine import Database


async def losses(database: Database, seal: Seal, *where: ColumnElement[bool]) -> AsyncIterator[tuple[int, AuditRow]]:
    """Those that all of this holds for, with their numbers. Raises `AuditTampered` and `ProviderError`."""
    async for part in matching(database, (log.c.action == ACCEPTED, log.c.seal.is_not(None), *where)):
        for each in part:
            if await _is_sealed(database, seal, each):
                yield each.seq, row_of(each.texts)


async def excused(database: Database, seal: Seal, anchor: Head, writer: str) -> bool:
    """Whether somebody accepted that this end is lost: by its name, or with a later one.

    An end has no time. So one that goes with a later one was there before the loss was accepted, or whoever wrote it down then, whose
    rows have ids that begin with ``writer``, has no row behind that; '' where nobody knows who did. Else a loss that was accepted once
    would excuse all that is taken away after it. Raises as `losses`.
    """
    async for _ in losses(database, seal, log.c.target == str(anchor)):
        return True
    if not writer:
        return False
    async for seq, row in losses(database, seal, log.c.seq <= anchor.seq):
        end = Head.parse(row.target) or START
        if anchor.seq <= end.seq and not await _wrote(database, writer, seq):
            return True
    return False


async def _wrote(database: Database, writer: str, after: int) -> bool:
    return await is_there(database, log.c.seq > after, log.c.event.startswith(writer, autoescape=True))


async def _is_sealed(database: Database, seal: Seal, row: Chained) -> bool:
    key = seal(row.seal_key)
    if key is None or not is_under(key, row):
        return False
    # The seal is of its hash, and by that of the row before, whoever tells it.
    before = await head_at(database, row.seq - 1)
    ends = [before] if before else [each.end for each in await segments_of(database) if each.end.seq == row.seq - 1]
    walk = Walk(seal, at=ends[0] if ends else START)
    return walk.follow([row]) is None and walk.sealed_to == row.seq
