"""Which rows of the audit trail are meant by numbers and times, and what the first of them follows."""

from datetime import datetime

from sqlalchemy import func, select

from keyturn.decide.auditrow import moment
from keyturn.decide.hashchain import START
from keyturn.model.audit import Head
from keyturn.store.audit_find import is_there
from keyturn.store.audit_reading import head_at
from keyturn.store.audit_segments import RowsElsewhere
from keyturn.store.audit_tables import log, segments
from keyturn.store.engine import Database


async def bounds(
    database: Database, first: int, last: int | None, since: datetime | None, until: datetime | None
) -> tuple[Head, int] | None:
    """What the first of these rows follows, and the number of the last; None where there are none.

    A time means all rows between the first and the last that it is true of: clocks may go back, and rows do not.
    Raises `RowsElsewhere` and `ProviderError`.
    """
    asked = select(func.min(log.c.seq), func.max(log.c.seq))
    async with database.reading() as connection:
        lowest, highest = (await connection.execute(asked)).one()
        if since is not None and highest is not None:
            lowest = await connection.scalar(select(func.min(log.c.seq)).where(log.c.at >= moment(since)))
        if until is not None and highest is not None:
            highest = await connection.scalar(select(func.max(log.c.seq)).where(log.c.at < moment(until)))
        if lowest is None or highest is None:
            return None
        moved = (await connection.execute(select(segments).order_by(segments.c.last.desc()).limit(1))).first()
    if moved is not None and since is None and first <= moved.last and first > 1:
        raise RowsElsewhere(f"rows up to {moved.last} were moved out of the database; the newest of their files is {moved.name}")
    begin, end = max(first, lowest), min(highest, last or highest)
    if begin > end:
        return None
    if moved is not None and begin == moved.last + 1:
        return Head(moved.last, bytes(moved.head)), end
    return START if begin == 1 else await head_at(database, begin - 1) or Head(begin - 1, b""), end


async def begins_after(database: Database, since: datetime | None) -> bool:
    """Whether rows before the first one could be of this time, None being any. Raises `ProviderError`."""
    return since is None or not await is_there(database, log.c.at < moment(since))
