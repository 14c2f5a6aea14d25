"""Rows of the audit trail that somebody asks for: never more of them at once than fit into memory, whoever wrote them.

Sizes are asked for before rows, as in `audit_reading`. A row that is none of ours is named and not read.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, select

from keyturn.decide.hashchain import Break
from keyturn.model.audit import Chained
from keyturn.model.checkpoint import AuditTampered
from keyturn.model.errors import KeyturnError, ProviderError
from keyturn.store.audit_reading import LARGEST, PART, RAW, SEQ, NotOurs, read, size_of
from keyturn.store.audit_tables import log
from keyturn.store.engine import Database

ROOM: Final = 128 << 20
"""Bytes of all rows of an answer that is kept whole."""

Where = Sequence[ColumnElement[bool]]


class AnswerTooLarge(KeyturnError):
    """More was asked for than fits into memory."""


async def matching(database: Database, where: Where, most: int | None = None, *, newest: bool = False) -> AsyncIterator[Sequence[Chained]]:
    """The oldest rows, or the ``newest``, that all of this holds for, in parts. Raises `AuditTampered` and `ProviderError`."""
    after: list[ColumnElement[bool]] = []
    while most is None or most > 0:
        wanted = PART if most is None else min(PART, most)
        sizes = await _sizes(database, (*where, *after), wanted, newest=newest)
        for part in _parts(sizes):
            yield await _rows(database, part, newest=newest)
        if len(sizes) < wanted:
            return
        last = sizes[-1][0]
        after = [log.c.seq < last if newest else log.c.seq > last]
        most = None if most is None else most - wanted


async def all_of(database: Database, where: Where, most: int, *, newest: bool = False) -> Sequence[Chained]:
    """As `matching`, in the order of their numbers. Raises `AnswerTooLarge` too."""
    found: list[Chained] = []
    size = 0
    async for part in matching(database, where, most, newest=newest):
        size += sum(len(each.entry) for each in part)
        if 2 * size > ROOM:  # an entry holds what all columns hold
            raise AnswerTooLarge(f"these rows of the audit trail have more than {ROOM >> 20} MiB: ask for fewer of them")
        found += part
    return found[::-1] if newest else found


async def is_there(database: Database, *where: ColumnElement[bool]) -> bool:
    """Whether all of this holds for any row. Raises `ProviderError`."""
    async with database.reading() as connection:
        return (await connection.execute(select(SEQ).select_from(log).where(*where).limit(1))).first() is not None


async def _sizes(database: Database, where: Where, most: int, *, newest: bool) -> Sequence[Row[Any, Any]]:
    size = size_of(is_sqlite=database.is_sqlite)
    order = log.c.seq.desc() if newest else log.c.seq
    async with database.reading() as connection:
        asked = select(SEQ.label("seq"), size.label("size")).select_from(log).where(*where).order_by(order).limit(most)
        return (await connection.execute(asked)).all()


def _parts(sizes: Sequence[Row[Any, Any]]) -> Iterator[Sequence[int]]:
    """Numbers of rows that may be read at once. Raises `AuditTampered` behind the last good one."""
    part: list[int] = []
    total = 0
    for seq, size in map(tuple, sizes):
        problem = _problem(seq, size)
        if part and (problem or total + size > LARGEST):
            yield part
            part, total = [], 0
        if problem:
            raise _tampered(problem)
        part.append(seq)
        total += size
    if part:
        yield part


def _problem(seq: object, size: int | None) -> Break | None:
    if type(seq) is not int:
        return Break(0, f"there is a row whose number is none: {repr(seq)[:40]}")
    if size is None:
        return Break(seq, "a column of it that is never empty has nothing in it")
    return Break(seq, f"it has {size} bytes, more than any row that is written here") if size > LARGEST else None


async def _rows(database: Database, numbers: Sequence[int], *, newest: bool) -> Sequence[Chained]:
    try:
        return await _read(database, numbers, newest=newest)
    except NotOurs as odd:
        raise _tampered(odd.found) from None
    except ProviderError:
        if len(numbers) > 1:
            return [row for each in numbers for row in await _rows(database, [each], newest=newest)]
        await is_there(database, log.c.seq == numbers[0])  # where that fails too, it is not the row
        raise _tampered(Break(numbers[0], "it cannot be read: it holds what is no text")) from None


async def _read(database: Database, numbers: Sequence[int], *, newest: bool) -> Sequence[Chained]:
    order = log.c.seq.desc() if newest else log.c.seq
    # Asked again: whoever has the database may have made one longer meanwhile.
    fits = size_of(is_sqlite=database.is_sqlite) <= LARGEST
    return await read(database, select(*RAW).select_from(log).where(log.c.seq.in_(numbers), fits).order_by(order))


def _tampered(found: Break) -> AuditTampered:
    return AuditTampered(f"the audit trail is not as it was written: {found}")
