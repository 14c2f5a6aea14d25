"""The fence in a database: who acts in an office, by a number that grows with each term, whatever a lease or a clock says.

All of it runs in a transaction of the one writer, so that between a proof and what it is for no other term begins.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keyturn.model.audit import Term
from keyturn.model.errors import Fenced
from keyturn.store.record_tables import fence

STEP: Final = 5000
"""So many rows of the audit trail more are settled, and that is noted: a new term looks through no more than these."""

_STANDING: Final = f"SELECT epoch, holder, settled_to FROM {fence} WHERE name = :office"  # noqa: S608  # our own names
_NOTE: Final = f"UPDATE {fence} SET settled_to = :settled_to WHERE name = :office"  # noqa: S608


async def begin(connection: AsyncConnection, office: str, holder: str, at: datetime) -> Term:
    """A new term, by which all before it end."""
    mine = fence.c.name == office
    found = (await connection.execute(select(fence.c.epoch, fence.c.settled_to).where(mine))).first()
    told = {"epoch": found.epoch + 1 if found else 1, "holder": holder, "since": at}
    if found is None:
        await connection.execute(insert(fence).values(name=office, settled_to=0, **told))
    else:
        await connection.execute(update(fence).where(mine).values(**told))
    return Term(office, found.epoch + 1 if found else 1, found.settled_to if found else 0)


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
    return max(term.settled_to, settled_to) if term.settled_to >= settled_to + step or not step else None
