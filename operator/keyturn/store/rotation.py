"""Another master key in two phases, so that at no time anybody reads a row that it cannot open.

    add (decrypt_only) -> every live replica can open it -> activate -> move all rows -> drop the old

Each step is one transaction or many that can be repeated: what was cut is taken up where it was by running it again.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from keyturn.model.errors import KeyturnError
from keyturn.store import tables
from keyturn.store.cipher import ITERATIONS, Place
from keyturn.store.engine import Database
from keyturn.store.keys import (
    ACTIVE,
    DECRYPT_ONLY,
    Keyholder,
    KeyMoved,
    KeyRow,
    check_whole,
    ids_in_use,
    made,
    read_rows,
    store,
    wrong_key,
)
from keyturn.store.replicas import Replica, read_replicas
from keyturn.store.reseal import count_others, reseal

_LOOK_S = 1.0
_NAMED = 5


class RotationStopped(KeyturnError):
    """The rotation cannot go on; what was done holds, and running it again goes on from there."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the keys of a database are: the active one first, how many rows lie under each, and who can open what."""

    keys: Sequence[KeyRow]
    rows: dict[str, int]
    replicas: Sequence[Replica]


async def standing(database: Database) -> Standing:
    """How it is now. Needs no master key."""
    async with database.reading() as connection:
        keys = await read_rows(connection)
        rows: dict[str, int] = dict.fromkeys((key.id for key in keys), 0)
        for table in (tables.versions, tables.secrets):
            for key_id, count in await connection.execute(select(table.c.key_id, func.count()).group_by(table.c.key_id)):
                rows[key_id] = rows.get(key_id, 0) + count
        return Standing(keys, rows, await read_replicas(connection))


class Rotation:
    """Brings the database under the wanted master key of its holder, whose keys were opened. ``tell`` hears of each step."""

    def __init__(self, holder: Keyholder, tell: Callable[[str], None], iterations: int = ITERATIONS) -> None:
        self._holder = holder
        self._database = holder.database
        self._tell = tell
        self._iterations = iterations

    async def run(self, wait_s: float) -> None:
        """All of it; waits at most ``wait_s`` for replicas. Raises `RotationStopped`, `KeyMoved` and what `Keyholder.open` raises."""
        target = await self._add()
        await self._activate(target, wait_s)
        await self._holder.refresh()
        await self._move(target)
        await self._drop(target)
        self._tell(f"done: all rows lie under {target}, which is active; the old key is needed for older backups alone")

    async def _add(self) -> str:
        """The id of the wanted key, whose row is made where there is none."""
        wanted = self._holder.masters.wanted
        async with self._database.reading() as connection:
            rows = await read_rows(connection)
        for row in rows:
            if self._holder.opened_by(row.id) is wanted:
                self._tell(f"{wanted.origin} is the key {row.id}, which is {row.state}")
                return row.id
        if wanted.id in {row.id for row in rows}:
            raise RotationStopped(f"{wanted.origin} bears the id {wanted.id!r} of another key of the database; give it a new one")
        made_row, _ = await made(wanted, DECRYPT_ONLY, self._iterations)
        async with self._database.writing() as connection:
            if {row.id for row in await read_rows(connection)} != {row.id for row in rows}:
                raise KeyMoved("another process changes the keys of the database; look at --status, then run this again")
            await store(connection, made_row)
        await self._holder.refresh()
        self._tell(f"added {made_row.id}, the key of {wanted.origin}")
        return made_row.id

    async def _activate(self, target: str, wait_s: float) -> None:
        deadline, told = time.monotonic() + wait_s, ""
        while lacking := await self._try_to_activate(target):
            names = ", ".join(lacking[:_NAMED]) + (f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else "")
            if time.monotonic() >= deadline:
                raise RotationStopped(
                    f"{target} was not activated, since these replicas cannot open it: {names}; give them the new key as SECRET_KEY "
                    "and the old one as SECRET_KEY_PREVIOUS (or both in SECRET_KEYS_FILE), restart them, and run this again"
                )
            if names != told:
                self._tell(f"waiting for replicas that cannot open {target} yet: {names}")
                told = names
            await asyncio.sleep(_LOOK_S)

    async def _try_to_activate(self, target: str) -> Sequence[str]:
        """The live replicas that cannot open it; where there are none it is active afterwards."""
        async with self._database.writing() as connection:
            rows = await read_rows(connection)
            check_whole(rows, ())
            if rows[0].id == target:
                return ()
            chosen = next((row for row in rows if row.id == target), None)
            if chosen is None:
                raise KeyMoved(f"{target} was taken out of the database meanwhile; run this again")
            lacking = [replica.id for replica in await read_replicas(connection) if replica.is_live and target not in replica.key_ids]
            if not lacking:
                await self._swap(connection, rows[0], chosen)
                self._tell(f"activated {target}: every live replica can open it")
            return lacking

    async def _swap(self, connection: AsyncConnection, old: KeyRow, new: KeyRow) -> None:
        """In one transaction, the old one first: never are two active. The fingerprint key goes along, and stays what it is."""
        if old.id not in self._holder.ring.ids:
            raise wrong_key((old,), self._holder.masters)
        wrapped = None if old.fingerprint_key is None else self._holder.wrap(new.id, self._holder.unwrap(old.id, old.fingerprint_key))
        table = tables.keys
        await connection.execute(update(table).where(table.c.state == ACTIVE).values(state=DECRYPT_ONLY))
        await connection.execute(update(table).where(table.c.id == new.id).values(state=ACTIVE, fingerprint_key=wrapped))

    async def _move(self, target: str) -> None:
        async with self._database.reading() as connection:
            total = await count_others(connection, target)
        done, broken = 0, list[Place]()
        async for step in reseal(self._database, self._holder.ring):
            done += step.moved
            broken += step.broken
            if step.moved:
                self._tell(f"moved {done} of {max(total, done)} rows to {target}")
        if broken:
            names = ", ".join(str(place) for place in broken[:_NAMED]) + (" and others" if len(broken) > _NAMED else "")
            raise RotationStopped(
                f"{len(broken)} rows are not as they were written and stay under their old key, which is kept: {names}; restore them "
                "from a backup, put them anew or purge them, and run this again"
            )

    async def _drop(self, target: str) -> None:
        """Away with what nothing lies under, but for a newer key that somebody else is about to bring in."""
        async with self._database.writing() as connection:
            rows, used = await read_rows(connection), await ids_in_use(connection)
            if rows[0].id != target or not rows[0].is_active:
                raise KeyMoved("another key was activated meanwhile; look at --status, then run this again")
            known = self._holder.ring.ids
            unneeded = [row.id for row in rows[1:] if row.id not in used and (row.id in known or row.created_at <= rows[0].created_at)]
            await connection.execute(delete(tables.keys).where(tables.keys.c.id.in_(unneeded), tables.keys.c.state != ACTIVE))
        await self._holder.refresh()
        for key_id in unneeded:
            self._tell(f"dropped {key_id}: nothing lies under it")
