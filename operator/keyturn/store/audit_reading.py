"""The rows of the audit trail as they lie there, whoever wrote them: in parts that fit into memory, up to the first that is none of ours.

Who has the database may have put anything into any column. So the driver converts nothing here, sizes are asked for before rows, and
what cannot be read at once is read row by row, until it is known which one it is.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnClause, ColumnElement, Row, Select, case, cast, func, literal, literal_column, or_, select
from sqlalchemy.types import LargeBinary

from keyturn.decide.auditrow import COLUMNS
from keyturn.decide.hashchain import Break
from keyturn.model.audit import Chained, Head
from keyturn.model.errors import KeyturnError, ProviderError
from keyturn.store.audit_tables import log
from keyturn.store.connection import AsyncConnection
from keyturn.store.engine import Database

PART: Final = 400
"""Rows that are read at once."""
LARGEST: Final = 8 << 20
"""Bytes of a row, and of what is read at once: more than the longest row of ours has."""
SHORT: Final = 16 << 10
"""Bytes of a text that is signed: more than the longest of ours has."""

_NAMES: Final = ("seq", "entry", "hash", "seal", "seal_key", *COLUMNS)
RAW: Final[tuple[ColumnClause[Any], ...]] = tuple(literal_column(name) for name in _NAMES)
"""Without their types: SQLite holds anything in any column, and what converts it may fail, or take a number for a length."""
SEQ: Final[ColumnClause[Any]] = literal_column("seq")
_HAS_OCTETS: Final = sqlite3.sqlite_version_info >= (3, 43)  # which need not load what they measure


class NotOurs(KeyturnError):
    """A row that was not written by us; ``found`` names it."""

    def __init__(self, found: Break) -> None:
        super().__init__(str(found))
        self.found = found


async def parts(database: Database, after: int, to: int | None = None) -> AsyncIterator[Sequence[Chained]]:
    """The rows behind a number, up to another one, in their order. Raises `NotOurs` behind the last good one, and `ProviderError`."""
    while (found := await _measured(database, after, to)) is not None:
        last, rows = found
        if rows:
            groups: Iterator[_Group] = iter([_Group(last, rows, 0)])
        else:
            groups = _groups(await _sizes(database, after, to))
        for group in groups:
            async for part in _part(database, after, group):
                yield part
            after = group.last


async def astray(database: Database, start: int) -> Break | None:
    """A row whose number is none that could follow this one, and so is never come by. Raises `ProviderError`."""
    where = or_(log.c.seq <= start, log.c.seq.is_(None))
    async with database.reading() as connection:
        found = (await connection.execute(select(SEQ).select_from(log).where(where).order_by(SEQ).limit(1))).first()
    if found is None:
        return None
    return _unnumbered(start, found[0]) if type(found[0]) is not int else Break(found[0], f"it stands before row {start + 1}, the first")


async def head_at(database: Database, seq: int) -> Head | None:
    """The end that the chain had with this row, None where it has none such. Raises `ProviderError`."""
    async with database.reading() as connection:
        found = await connection.scalar(select(literal_column("hash")).select_from(log).where(log.c.seq == seq).limit(1))
    return Head(seq, found) if type(found) is bytes else None


@dataclass(frozen=True, slots=True)
class _Group:
    """Neighbours that may be read at once: the number of the last, how many, and their bytes."""

    last: Any
    rows: int
    size: int | None


async def _measured(database: Database, after: int, to: int | None) -> tuple[Any, int] | None:
    """The last number of the next part, and its rows where all of them may be read at once, else 0; None where there are none."""
    part = _sized(database, after, to).subquery()
    asked = select(func.max(part.c.seq), func.count(), func.count(part.c.size), func.sum(part.c.size)).select_from(part)
    async with database.reading() as connection:
        last, rows, measured, total = (await connection.execute(asked)).one()
    if not rows:
        return None
    return last, rows if type(last) is int and rows == measured and total <= LARGEST else 0


async def _sizes(database: Database, after: int, to: int | None) -> Sequence[Row[Any]]:
    async with database.reading() as connection:
        found: Sequence[Row[Any]] = (await connection.execute(_sized(database, after, to))).all()
    return found


def _sized(database: Database, after: int, to: int | None) -> Select[Any]:
    size = size_of(is_sqlite=database.is_sqlite).label("size")
    asked = select(SEQ.label("seq"), size).select_from(log).where(log.c.seq > after).order_by(SEQ).limit(PART)
    return asked if to is None else asked.where(log.c.seq <= to)


def size_of(*, is_sqlite: bool) -> ColumnElement[Any]:
    """Bytes of a row; NULL where a column of it is."""
    total: ColumnElement[Any] = case((literal_column("seal").is_(None), 0), else_=_octets("seal", is_sqlite=is_sqlite))
    for name in _NAMES:
        if name not in {"seq", "seal"}:
            total = total.op("+")(_octets(name, is_sqlite=is_sqlite))
    return total


def _octets(name: str, *, is_sqlite: bool) -> ColumnElement[Any]:
    column: ColumnClause[Any] = literal_column(name)
    return func.length(cast(column, LargeBinary)) if is_sqlite and not _HAS_OCTETS else func.octet_length(column)


def short(connection: AsyncConnection, name: str, instead: str | bytes) -> ColumnElement[Any]:
    """A column of another table of ours, as bytes where SQLite holds it; something instead where it is longer than any of ours.

    SQLite holds bytes in a column of text that are none, on which its driver would fail.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    is_short = _octets(name, is_sqlite=is_sqlite) <= SHORT
    column: ColumnElement[Any] = literal_column(name)
    if is_sqlite:
        return case((is_short, cast(column, LargeBinary)), else_=cast(literal(b""), LargeBinary))
    return case((is_short, column), else_=literal(instead))


def _groups(sizes: Sequence[Row[Any]]) -> Iterator[_Group]:
    """Parts of this one; what is odd, or too large, alone."""
    rows = total = 0
    last: Any = None
    for seq, size in map(tuple, sizes):
        is_plain = type(seq) is int and size is not None
        if rows and (not is_plain or total + size > LARGEST):
            yield _Group(last, rows, total)
            rows = total = 0
        if not is_plain or size > LARGEST:
            yield _Group(seq, 1, size)
        else:
            rows, total, last = rows + 1, total + size, seq
    if rows:
        yield _Group(last, rows, total)


async def _part(database: Database, after: int, group: _Group) -> AsyncIterator[Sequence[Chained]]:
    """This group of rows, or those before the first that is none of ours."""
    last, size = group.last, group.size
    if type(last) is not int:
        raise NotOurs(_unnumbered(after, last))
    if size is None:
        raise NotOurs(Break(last, "a column of it that is never empty has nothing in it"))
    if size > LARGEST:
        raise NotOurs(Break(last, f"it has {size} bytes, more than any row that is written here"))
    asked = select(*RAW).select_from(log).where(log.c.seq > after, log.c.seq <= last).order_by(SEQ).limit(group.rows + 1)
    try:
        rows = await read(database, asked)
    except (ProviderError, NotOurs):
        async for row in _one_by_one(database, after, last):
            yield row
    else:
        yield rows


async def _one_by_one(database: Database, after: int, last: int) -> AsyncIterator[Sequence[Chained]]:
    while after < last:
        async with database.reading() as connection:  # where that fails too, it is not the row
            seq = await connection.scalar(select(SEQ).select_from(log).where(log.c.seq > after).order_by(SEQ).limit(1))
        if seq is None:
            return
        if type(seq) is not int:
            raise NotOurs(_unnumbered(after, seq))
        try:
            rows = await read(database, select(*RAW).select_from(log).where(log.c.seq == seq).limit(2))
        except ProviderError:
            raise NotOurs(Break(seq, "it cannot be read: it holds what is no text")) from None
        yield rows
        after = seq


async def read(database: Database, asked: Select[Any]) -> Sequence[Chained]:
    """What is asked for of `RAW`. Raises `NotOurs` and `ProviderError`."""
    async with database.reading() as connection:
        found = (await connection.execute(asked)).all()
    return await asyncio.to_thread(lambda: [_chained(each) for each in found])


def _chained(found: Row[Any]) -> Chained:
    """In the order of `_NAMES`. Raises `NotOurs`."""
    seq, entry, made, seal, seal_key, *texts = tuple(found)
    if not (
        type(seq) is int
        and type(entry) is bytes
        and type(made) is bytes
        and (seal is None or type(seal) is bytes)
        and type(seal_key) is str
    ):
        raise NotOurs(Break(seq, "it holds what is of another kind than what is written here"))
    if set(map(type, texts)) != {str}:
        raise NotOurs(Break(seq, "it holds what is no text"))
    return Chained(seq, dict(zip(COLUMNS, texts, strict=True)), entry, made, seal, seal_key)


def _unnumbered(after: int, found: object) -> Break:
    return Break(after + 1, f"in its place is a row whose number is none: {repr(found)[:40]}")
