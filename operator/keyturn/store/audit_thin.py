"""Checkpoints of days that are over for long taken out of their table, where a later one of ours covers them.

Whoever may not change the table cannot do it: its triggers and its owner's rights hold here as for rows that are moved.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import delete, tuple_

from keyturn.decide.series import Series, spare
from keyturn.model.audit import AuditEntry, Fact, Outcome
from keyturn.model.checkpoint import AuditTampered, CheckpointRow
from keyturn.model.errors import KeyturnError
from keyturn.model.note import VerifierKey
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_tables import checkpoints
from keyturn.store.checkpoints import rows_of
from keyturn.store.connection import AsyncConnection
from keyturn.store.engine import Database
from keyturn.store.signing import check

THINNED: Final = "audit.thin"
"""The action of the rows that say which checkpoints were taken out, and by whom."""

_PART: Final = 200


async def thin(database: Database, trail: AuditTrail, known: Sequence[VerifierKey], fact: Fact) -> int:
    """How many went. As owner; all in one transaction, between two rows of the trail.

    Raises `AuditTampered` where others are changed or gone already, which has to be looked at first, and `ProviderError`.
    """
    rows = await rows_of(database)
    spared = await asyncio.to_thread(_spare, rows, known)
    if not spared:
        return 0
    details = {"count": str(len(spared)), "first": spared[0].at, "last": spared[-1].at}
    entry = AuditEntry(THINNED, "audit trail", str(checkpoints), details=details)
    outcome, reason = Outcome.UNKNOWN, ""
    intent = replace(fact(entry, ""), outcome="")
    await trail.append([intent])
    try:
        await _take_out(database, spared)
        outcome = Outcome.SUCCESS
    except KeyturnError as error:
        outcome, reason = Outcome.FAILURE, type(error).__name__
        raise
    finally:
        await trail.append([replace(fact(entry, ""), settles=intent.event, outcome=outcome, reason=reason)])
    return len(spared)


def _spare(rows: Sequence[CheckpointRow], known: Sequence[VerifierKey]) -> Sequence[CheckpointRow]:
    series = Series(lambda note: check(note, known))
    if (problem := series.follow(rows)) and series.is_broken:
        raise AuditTampered(f"checkpoints are left as they are, since they are not as they were written: {problem}")
    return spare(rows, lambda note: check(note, known))


async def _take_out(database: Database, spared: Sequence[CheckpointRow]) -> None:
    if database.is_sqlite:
        await database.write_in_one(lambda connection: _from_file(connection, spared))
        return
    async with database.writing() as connection:
        await connection.exec_driver_sql(f"ALTER TABLE {checkpoints} DISABLE TRIGGER {checkpoints}_change")
        await _from_server(connection, spared)
        await connection.exec_driver_sql(f"ALTER TABLE {checkpoints} ENABLE TRIGGER {checkpoints}_change")


def _from_file(connection: sqlite3.Connection, spared: Sequence[CheckpointRow]) -> None:
    # The one trigger that is in the way is made again before anybody else can write.
    asked = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name = ?"
    triggers = connection.execute(asked, (f"{checkpoints}_delete",)).fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.executemany(f"DELETE FROM {checkpoints} WHERE at = ? AND note = ?", [(each.at, each.note) for each in spared])  # noqa: S608  # our own name
    for _, sql in triggers:
        connection.execute(sql)


async def _from_server(connection: AsyncConnection, spared: Sequence[CheckpointRow]) -> None:
    for begin in range(0, len(spared), _PART):
        which = [(each.at, each.note) for each in spared[begin : begin + _PART]]
        await connection.execute(delete(checkpoints).where(tuple_(checkpoints.c.at, checkpoints.c.note).in_(which)))
