"""The fence in a database: who acts in an office, by a number that grows with each term, whatever a lease or a clock says.

All of it runs in a transaction of the one writer, so that between a proof and what it is for no other term begins.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, insert, select, text, update

from keyturn.model.audit import Term
from keyturn.model.checkpoint import AuditTampered
from keyturn.model.errors import Fenced
from keyturn.store.audit_tables import log
from keyturn.store.connection import AsyncConnection
from keyturn.store.record_tables import fence

STEP: Final = 5000
"""So many rows of the audit trail more are settled, and that is noted: a new term looks through no more than these."""
_MOST: Final = 1 << 62
"""Numbers that nobody ever comes to."""

_STANDING: Final = f"SELECT epoch, substr(holder, 1, 80), settled_to FROM {fence} WHERE name = :office"  # noqa: S608  # our own names
_NOTE: Final = f"UPDATE {fence} SET settled_to = :settled_to WHERE name = :office"  # noqa: S608


async def begin(connection: AsyncConnection, office: str, holder: str, at: datetime) -> Term:
    """A new term, by which all before it end. No row is noted as settled that the trail has not: it may have lost its end."""
    mine = fence.c.name == office
    found = (await connection.execute(select(fence.c.epoch, fence.c.settled_to).where(mine))).first()
    epoch, settled_to = _numbers(office, *found) if found else (0, 0)
    if settled_to:
        last = await connection.scalar(select(func.max(log.c.seq)))
        settled_to = min(settled_to, last) if type(last) is int and last > 0 else 0
    told = {"epoch": epoch + 1, "holder": holder, "since": at, "settled_to": settled_to}
    if found is None:
        await connection.execute(insert(fence).values(name=office, **told))
    else:
        await connection.execute(update(fence).where(mine).values(**told))
    return Term(office, epoch + 1, settled_to)


def prove_in_file(connection: sqlite3.Connection, term: Term, step: int = STEP) -> None:
    """As `prove`, in SQLite's own thread."""
    if (settled_to := _seen(connection.execute(_STANDING, {"office": term.office}).fetchone(), term, step)) is not None:
        connection.execute(_NOTE, {"office": term.office, "settled_to": settled_to})


async def prove(connection: AsyncConnection, term: Term, step: int = STEP) -> None:
    """Raises `Fenced` where the term is not the last one. Notes what is settled where that are ``step`` rows more."""
    found: Any = (await connection.execute(text(_STANDING), {"office": term.office})).first()
    if (settled_to := _seen(found, term, step)) is not None:
        await connection.execute(text(_NOTE), {"office": term.office, "settled_to": settled_to})


def _seen(found: Sequence[Any] | None, term: Term, step: int) -> int | None:
    """What is to be noted as settled, None for nothing."""
    epoch, holder, settled_to = found or (0, "", 0)
    if epoch != term.epoch:
        named = repr(holder)[:70] if holder else "nobody"
        raise Fenced(
            f"{named} acts as {term.office} in the database since; if that is no replica of this operator, give it a database of its own"
        )
    _, settled_to = _numbers(term.office, epoch, settled_to)
    return max(term.settled_to, settled_to) if term.settled_to >= settled_to + step or not step else None


def _numbers(office: str, epoch: object, settled_to: object) -> tuple[int, int]:
    """The two as whoever writes here writes them. Raises `AuditTampered`: SQLite holds anything in any column."""
    if type(epoch) is int and type(settled_to) is int and 0 <= epoch < _MOST and 0 <= settled_to < _MOST:
        return epoch, settled_to
    raise AuditTampered(
        f"the row of {office} in the table {fence} is not as it was written: epoch {repr(epoch)[:40]}, settled_to {repr(settled_to)[:40]};"
        f" set both to numbers from 0 on, less than {_MOST}, the epoch to a greater one than ever was there"
    )
