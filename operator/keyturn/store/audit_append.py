"""How rows come into the audit trail. Every change waits for it: so it is written by hand, and takes one step where there is one driver's
thread, and few where there is a server.

What is there already is looked up together with the end of the chain, under the writers' lock, and has to be ours. Nothing is built
upon an end that is not: else the next seal, and the next checkpoint, would be over rows that somebody else wrote.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import insert

from keyturn.decide.auditrow import COLUMNS, canonical, texts_of
from keyturn.decide.hashchain import START, Seal, chained, is_sealed
from keyturn.model.audit import AuditRow, Chained, Head, Term
from keyturn.model.checkpoint import AuditTampered
from keyturn.model.sensitive import Sensitive
from keyturn.store import fence
from keyturn.store.audit_reading import LARGEST
from keyturn.store.audit_tables import log
from keyturn.store.connection import AsyncConnection
from keyturn.store.keys import KeyMoved
from keyturn.store.tables import keys

SealKey = Callable[[], tuple[str, Sensitive | None]]
"""The master key that seals are made under now: its id, and the subkey for seals; ('', None) makes none."""

FEW: Final = 25
"""Rows that take no noticeable time of the event loop."""

_texts: Final = itemgetter(*COLUMNS)
_NAMES: Final = f"seq, {', '.join(f'{chr(34)}{name}{chr(34)}' for name in COLUMNS)}, entry, hash, seal, seal_key"
_LAST: Final = f"SELECT seq, hash, seal, seal_key FROM {log} ORDER BY seq DESC LIMIT 1"  # noqa: S608  # our own names, here and below
_INSERT: Final = f"INSERT INTO {log} ({_NAMES}) VALUES ({', '.join('?' * (len(COLUMNS) + 5))})"  # noqa: S608
# As JSON, so that the statement is the same for any number of them, and known to the driver.
_SQLITE_THERE: Final = f"SELECT {{0}} FROM {log} WHERE seq > 0 AND {{0}} IN (SELECT value FROM json_each(?))"  # noqa: S608
_EVENTS_THERE: Final = _SQLITE_THERE.format("event")
_ENTRY: Final = f"SELECT seq, entry FROM {log} WHERE event = {{}} AND length(entry) <= {LARGEST} LIMIT 2"  # noqa: S608
_SETTLED_THERE: Final = _SQLITE_THERE.format("settles")
_ACTIVE: Final = f"SELECT id FROM {keys} WHERE state = 'active'"  # noqa: S608
_FIRST: Final = f"SELECT min(seq) FROM {log}"  # noqa: S608
_HASH: Final = f"SELECT hash FROM {log} WHERE seq = {{}}"  # noqa: S608
_STANDING: Final = f"""
    SELECT last.seq, last.hash, last.seal, last.seal_key, ({_ACTIVE}),
        ARRAY(SELECT event FROM {log} WHERE seq > 0 AND event = ANY (%(events)s::text[])),
        ARRAY(SELECT settles FROM {log} WHERE seq > 0 AND settles = ANY (%(settled)s::text[]))
    FROM (SELECT 1) AS one LEFT JOIN ({_LAST}) AS last ON true
"""  # noqa: S608


@dataclass(slots=True)
class Scribe:
    """Who adds rows: under which key, and by which keys seals are checked (None: they are not). ``seen`` is the end as it left it."""

    seal_key: SealKey
    seal: Seal | None = None
    seen: Head = START

    def prove_key(self, active: str | None) -> None:
        """Raises `KeyMoved` where another master key is active: nobody would know a seal under one that is dropped."""
        if self.seal is not None and active not in (None, self.seal_key()[0]):
            raise KeyMoved("another master key was activated")

    def prove(self, end: "End", onto: Head | None = None) -> None:
        """Raises `AuditTampered` where the end is not sealed by ours; ``onto`` is one that somebody accepted all the same."""
        if self.seal is None or end.head in (START, self.seen, onto):
            return
        key, seal = self.seal(end.seal_key), end.seal or b""
        if key is None or not is_sealed(key, end.head, seal):
            raise AuditTampered(
                f"row {end.head.seq}, the last of the audit trail, is under no seal of ours: somebody else writes to it, and nothing is"
                f" changed; look at it with keyturn audit verify and query, keep them out, and accept it as it is:"
                f" keyturn audit acknowledge-loss --anchor {end.head}"
            )

    def prove_same(self, row: AuditRow, there: Sequence[Sequence[Any]]) -> None:
        """A row that is there already is passed over, and who waits for it acts. Raises `AuditTampered` where it says anything else."""
        if self.seal is not None and [bytes(entry) for _, entry in there] != [canonical(seq, texts_of(row)) for seq, _ in there[:1]]:
            raise AuditTampered(
                f"somebody else wrote a row under the id {row.event} of another row, and nothing is changed; look at it with keyturn audit"
                " verify and query, keep them out, and start again, by which rows get other ids"
            )

    def prove_seen(self, seen: Head, there: bytes | None, first: int | None) -> None:
        """``there`` is the hash of the row that was last seen, as it is now. Raises `AuditTampered` where that is another row, or gone."""
        is_moved = there is None and first is not None and first > seen.seq
        if self.seal is not None and there != seen.hash and not is_moved:
            raise AuditTampered(
                f"row {seen.seq} of the audit trail was taken away or changed since it was written, and nothing is changed;"
                " restore the database, and start again: what is lost is told then, and how to accept it"
            )


@dataclass(frozen=True, slots=True)
class End:
    """The last row as it lies there."""

    head: Head = START
    seal: bytes | None = None
    seal_key: str = ""

    @classmethod
    def of(cls, row: Sequence[Any] | None) -> "End":
        if row is None or row[0] is None:
            return cls()
        seq, made, seal, seal_key = row
        return cls(Head(seq, bytes(made)), None if seal is None else bytes(seal), str(seal_key))


def add_to_file(
    connection: sqlite3.Connection, rows: Sequence[AuditRow], scribe: Scribe, term: Term | None = None, onto: Head | None = None
) -> Head:
    """Within a transaction of SQLite's one writer: the end after it. Raises `AuditTampered` and `Fenced`."""
    if term is not None:
        fence.prove_in_file(connection, term, fence.STEP if rows else 0)
    events, settled = _asked(rows)
    known = {event for (event,) in connection.execute(_EVENTS_THERE, (json.dumps(events),))} if events else ()
    closed = {intent for (intent,) in connection.execute(_SETTLED_THERE, (json.dumps(settled),))} if settled else ()
    end = End.of(connection.execute(_LAST).fetchone())
    if scribe.seal is not None:
        scribe.prove_key(next(iter(connection.execute(_ACTIVE).fetchone() or ()), None))
    scribe.prove(end, onto)
    for row in _same(rows, known):
        scribe.prove_same(row, connection.execute(_ENTRY.format("?"), (row.event,)).fetchall())
    if (seen := scribe.seen) not in (START, end.head):
        there = connection.execute(_HASH.format("?"), (seen.seq,)).fetchone()
        scribe.prove_seen(seen, there and there[0], connection.execute(_FIRST).fetchone()[0])
    made = _made(rows, end.head, known, closed, scribe.seal_key)
    connection.executemany(_INSERT, [(each.seq, *_texts(each.texts), each.entry, each.hash, each.seal, each.seal_key) for each in made])
    return _end(made, end.head)


async def add_to_server(
    connection: AsyncConnection, rows: Sequence[AuditRow], scribe: Scribe, term: Term | None = None, onto: Head | None = None
) -> Head:
    """Within a transaction that holds the writers' lock: the end after it. Raises `AuditTampered` and `Fenced`."""
    if term is not None:
        await fence.prove(connection, term, fence.STEP if rows else 0)
    events, settled = _asked(rows)
    standing: Any = (await connection.exec_driver_sql(_STANDING, {"events": events, "settled": settled})).one()
    *last, active, known, closed = standing
    end = End.of(last)
    scribe.prove_key(active)
    scribe.prove(end, onto)
    for row in _same(rows, known):
        scribe.prove_same(row, (await connection.exec_driver_sql(_ENTRY.format("%(event)s"), {"event": row.event})).all())
    # Another append of this process, which is written, may yet be on its way to note what it left.
    if (seen := scribe.seen) not in (START, end.head):
        there = (await connection.exec_driver_sql(_HASH.format("%(seq)s"), {"seq": seen.seq})).scalar()
        scribe.prove_seen(seen, None if there is None else bytes(there), (await connection.exec_driver_sql(_FIRST)).scalar())
    asked = (rows, end.head, known, closed, scribe.seal_key)
    made = _made(*asked) if len(rows) <= FEW else await asyncio.to_thread(_made, *asked)
    for begin in range(0, len(made), FEW):
        await connection.execute(insert(log), [_columns(each) for each in made[begin : begin + FEW]])
    return _end(made, end.head)


def _same(rows: Sequence[AuditRow], known: Collection[str]) -> Sequence[AuditRow]:
    return [row for row in rows if row.event in known] if known else ()


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
