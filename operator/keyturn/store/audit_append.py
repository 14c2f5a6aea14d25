"""How rows come into the audit trail. Every change waits for it: so it is written by hand, and takes one step where there is one driver's
thread, and few where there is a server.

What is there already is looked up together with the end of the chain, under the writers' lock.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyturn.decide.auditrow import COLUMNS
from keyturn.decide.hashchain import START, chained
from keyturn.model.audit import AuditRow, Chained, Head, Term
from keyturn.model.sensitive import Sensitive
from keyturn.store import fence
from keyturn.store.audit_tables import log

SealKey = Callable[[], tuple[str, Sensitive | None]]
"""The master key that seals are made under now: its id, and the subkey for seals; ('', None) makes none."""

FEW: Final = 25
"""Rows that take no noticeable time of the event loop."""

_texts: Final = itemgetter(*COLUMNS)
_NAMES: Final = f"seq, {', '.join(f'{chr(34)}{name}{chr(34)}' for name in COLUMNS)}, entry, hash, seal, seal_key"
_LAST: Final = f"SELECT seq, hash FROM {log} ORDER BY seq DESC LIMIT 1"  # noqa: S608  # our own names, here and below
_INSERT: Final = f"INSERT INTO {log} ({_NAMES}) VALUES ({', '.join('?' * (len(COLUMNS) + 5))})"  # noqa: S608
# As JSON, so that the statement is the same for any number of them, and known to the driver.
_SQLITE_THERE: Final = f"SELECT {{0}} FROM {log} WHERE {{0}} IN (SELECT value FROM json_each(?))"  # noqa: S608
_EVENTS_THERE: Final = _SQLITE_THERE.format("event")
_SETTLED_THERE: Final = _SQLITE_THERE.format("settles")
_STANDING: Final = f"""
    SELECT last.seq, last.hash,
        ARRAY(SELECT event FROM {log} WHERE event = ANY (%(events)s::text[])),
        ARRAY(SELECT settles FROM {log} WHERE settles = ANY (%(settled)s::text[]))
    FROM (SELECT 1) AS one LEFT JOIN ({_LAST}) AS last ON true
"""  # noqa: S608


def add_to_file(connection: sqlite3.Connection, rows: Sequence[AuditRow], seal_key: SealKey, term: Term | None = None) -> Head:
    """Within a transaction of SQLite's one writer: the end after it. Raises `Fenced`."""
    if term is not None:
        fence.prove_in_file(connection, term, fence.STEP if rows else 0)
    events, settled = _asked(rows)
    known = {event for (event,) in connection.execute(_EVENTS_THERE, (json.dumps(events),))} if events else ()
    closed = {intent for (intent,) in connection.execute(_SETTLED_THERE, (json.dumps(settled),))} if settled else ()
    last = connection.execute(_LAST).fetchone()
    head = Head(last[0], last[1]) if last else START
    made = _made(rows, head, known, closed, seal_key)
    connection.executemany(_INSERT, [(each.seq, *_texts(each.texts), each.entry, each.hash, each.seal, each.seal_key) for each in made])
    return _end(made, head)


async def add_to_server(connection: AsyncConnection, rows: Sequence[AuditRow], seal_key: SealKey, term: Term | None = None) -> Head:
    """Within a transaction that holds the writers' lock: the end after it. Raises `Fenced`."""
    if term is not None:
        await fence.prove(connection, term, fence.STEP if rows else 0)
    events, settled = _asked(rows)
    standing: Any = (await connection.exec_driver_sql(_STANDING, {"events": events, "settled": settled})).one()
    seq, last, known, closed = standing
    head = START if seq is None else Head(seq, bytes(last))
    asked = (rows, head, known, closed, seal_key)
    made = _made(*asked) if len(rows) <= FEW else await asyncio.to_thread(_made, *asked)
    for begin in range(0, len(made), FEW):
        await connection.execute(insert(log), [_columns(each) for each in made[begin : begin + FEW]])
    return _end(made, head)


def _asked(rows: Sequence[AuditRow]) -> tuple[list[str], list[str]]:
    return [row.event for row in rows], [row.settles for row in rows if row.settles]


def _made(rows: Sequence[AuditRow], head: Head, known: Collection[str], closed: Collection[str], seal_key: SealKey) -> list[Chained]:
    key_id, key = seal_key()
    known, closed = frozenset(known), frozenset(closed)
    fresh = [row for row in rows if row.event not in known and row.settles not in closed] if known or closed else rows
    return chained(fresh, head, key, key_id)


def _end(made: Sequence[Chained], head: Head) -> Head:
    return Head(made[-1].seq, made[-1].hash) if made else head


def _columns(made: Chained) -> dict[str, object]:
    return {**made.texts, "seq": made.seq, "entry": made.entry, "hash": made.hash, "seal": made.seal, "seal_key": made.seal_key}
