"""PostgreSQL's partitions of the audit trail: the newest is open to the end, and is closed by the tables' owner from time to time.

So an insert never lacks a partition, whoever forgets to make one: the run-time user makes none. Partitions are not made ahead, since
each that is there, empty or not, is looked into with every row that is added.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select, text

from keyturn.store.audit_tables import log
from keyturn.store.connection import AsyncConnection

ROWS: Final = 100_000
"""Of a partition that is worth one of its own."""

_BOUNDS: Final = re.compile(r"FOR VALUES FROM \((?:MINVALUE|'(?P<begin>-?[0-9]+)')\) TO \((?:MAXVALUE|'(?P<end>-?[0-9]+)')\)")
_PARTITIONS: Final = """
    SELECT c.oid::regclass::text, pg_get_expr(c.relpartbound, c.oid)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = cast(:log AS regclass)
"""
_READERS: Final = """
    SELECT DISTINCT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
    FROM pg_class c, aclexplode(c.relacl) a
    WHERE c.oid = cast(:log AS regclass) AND a.privilege_type = 'SELECT' AND a.grantee <> c.relowner
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """One of them, by its quoted name: of rows from ``begin`` on, and before ``end``; None is without a bound."""

    name: str
    begin: int | None
    end: int | None

    @property
    def first(self) -> int:
        """Its first row."""
        return self.begin or 1

    @property
    def bounds(self) -> str:
        """As SQL has it."""
        begin, end = "MINVALUE" if self.begin is None else self.begin, "MAXVALUE" if self.end is None else self.end
        return f"FOR VALUES FROM ({begin}) TO ({end})"


async def partitions(connection: AsyncConnection) -> Sequence[Partition]:
    """All of them, the oldest first."""
    found = []
    for name, bounds in await connection.execute(text(_PARTITIONS), {"log": log.name}):
        if (told := _BOUNDS.fullmatch(bounds)) is not None:
            begin, end = (int(told[side]) if told[side] is not None else None for side in ("begin", "end"))
            found.append(Partition(name, begin, end))
    return sorted(found, key=lambda each: each.first)


async def is_owner(connection: AsyncConnection) -> bool:
    """Whether this user may do with the trail's tables what it likes."""
    asked = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = cast(:log AS regclass)"
    return bool(await connection.scalar(text(asked), {"log": log.name}))


async def cut(connection: AsyncConnection, least: int = ROWS) -> None:
    """Closes the newest partition behind its last row, and begins another, where it has so many rows. As owner, and as the one writer."""
    live = (await partitions(connection))[-1]
    last = await connection.scalar(select(func.max(log.c.seq))) or 0
    if live.end is not None or last - live.first + 1 < max(least, 1):
        return
    closed, fresh = Partition(live.name, live.begin, last + 1), Partition(f"{log.name}_{last + 1}", last + 1, None)
    for statement in (
        f"ALTER TABLE {log.name} DETACH PARTITION {closed.name}",
        f"ALTER TABLE {log.name} ATTACH PARTITION {closed.name} {closed.bounds}",
        f"CREATE TABLE {fresh.name} PARTITION OF {log.name} {fresh.bounds}",
        # Triggers on rows come with it by themselves.
        f"CREATE TRIGGER {log.name}_truncate BEFORE TRUNCATE ON {fresh.name} FOR EACH STATEMENT EXECUTE FUNCTION {log.name}_only_grows()",
    ):
        await connection.exec_driver_sql(statement)
    await let_read(connection)


async def let_read(connection: AsyncConnection) -> None:
    """Whoever may read the trail may read each partition, as a backup does, and nothing more."""
    readers = list(await connection.scalars(text(_READERS), {"log": log.name}))
    for each in await partitions(connection):
        for role in readers:
            await connection.exec_driver_sql(f"GRANT SELECT ON {each.name} TO {role}", execution_options={"no_parameters": True})


async def drop(connection: AsyncConnection, partition: Partition) -> None:
    """Away with it and all its rows. As owner."""
    await connection.exec_driver_sql(f"ALTER TABLE {log.name} DETACH PARTITION {partition.name}")
    await connection.exec_driver_sql(f"DROP TABLE {partition.name}")
