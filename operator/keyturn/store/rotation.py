"""Another master key in two phases, so that at no time anybody reads a row that it cannot open.

    add (decrypt_only) -> every live replica can open it -> activate -> move all rows -> drop the old

The audit trail is not moved, but its last row is under the new key before the old one goes: each append proves the seal of that row.

Each step is one transaction or many that can be repeated: what was cut is taken up where it was by running it again.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from keyturn.model.audit import AuditEntry, Fact
from keyturn.model.errors import KeyturnError
from keyturn.model.keys import SECRET_KEY, SECRET_KEY_PREVIOUS, SECRET_KEYS_FILE, MasterKey
from keyturn.store import tables
from keyturn.store.audit import trail_of
from keyturn.store.cipher import ITERATIONS, Place
from keyturn.store.connection import AsyncConnection
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
from keyturn.store.replicas import LIVE_S, Replica, read_replicas
from keyturn.store.reseal import count_others, reseal

_LOOK_S = 1.0
_NAMED = 5
_SHOWN = 70  # signs of an id, which is shorter if we wrote it


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
    """Brings the database under the wanted master key of its holder, whose keys were opened. ``tell`` hears of each step.

    ``fact`` makes rows of the audit trail.
    """

    def __init__(self, holder: Keyholder, tell: Callable[[str], None], fact: Fact, iterations: int = ITERATIONS) -> None:
        self._holder = holder
        self._database = holder.database
        self._tell = tell
        self._iterations = iterations
        self._fact = fact

    async def run(self, wait_s: float) -> None:
        """All of it; waits at most ``wait_s`` for replicas. Raises `RotationStopped`, `KeyMoved` and what `Keyholder.open` raises."""
        target = await self._add()
        is_active = (await self._active()).id == target
        if is_active:
            await self._refuse_swapped(target)
        await self._activate(target, wait_s)
        await self._holder.refresh()
        await self._take_over(target)
        moved = await self._move(target)
        dropped = await self._drop(target)
        self._tell(await self._ending(target, is_changed=bool(not is_active or moved or dropped)))

    async def withdraw(self) -> None:
        """Keeps the wanted key, which must be the active one, and drops all that nothing lies under: they were never activated.

        Whoever brings one of them in meanwhile finds it gone, and stops. Raises as `run`.
        """
        active = await self._active()
        wanted = self._holder.masters.wanted
        if self._holder.opened_by(active.id) is not wanted:
            raise RotationStopped(
                f"nothing was withdrawn: {active.id} is active, and {wanted.origin} is another key; make that {SECRET_KEY}"
            )
        if await self._drop(active.id, others_too=True):
            self._tell(f"done: {active.id} stays active")
        else:
            self._tell(f"nothing to withdraw: no key was added beside {active.id}, which is active")

    async def _active(self) -> KeyRow:
        async with self._database.reading() as connection:
            rows = await read_rows(connection)
        check_whole(rows, ())
        return rows[0]

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

    async def _refuse_swapped(self, active: str) -> None:
        """Raises where the wanted key is active already and another that was given is to come: its owner meant it the other way round."""
        async with self._database.reading() as connection:
            rows, used = await read_rows(connection), await ids_in_use(connection)
            oldest = await connection.scalar(select(func.min(tables.secrets.c.created_at)))
        since = next((row.created_at for row in rows if row.id == active), None)
        # A key that opens nothing may have been dropped by a rotation, which is fine to run again. None has been where
        # everything is younger than the active key.
        was_first = oldest is not None and since is not None and since < oldest
        for key in self._holder.masters.keys[1:]:
            row = next((row for row in rows if self._holder.opened_by(row.id) is key), None)
            is_to_come = was_first if row is None else since is not None and since < row.created_at and row.id not in used
            if is_to_come:
                raise self._swapped(active, key)

    def _swapped(self, active: str, new: MasterKey) -> RotationStopped:
        wanted = self._holder.masters.wanted
        return RotationStopped(
            f"nothing was rotated, for the two are swapped: {wanted.origin} is {active}, which is active already, and {new.origin} is not "
            f"in use; to bring that in make it {SECRET_KEY} and the active one {SECRET_KEY_PREVIOUS} (in {SECRET_KEYS_FILE}: before the "
            "active one), and to give it up run keyturn keys rotate --withdraw, and take it out"
        )

    async def _ending(self, target: str, *, is_changed: bool) -> str:
        """What it came to, and what is left."""
        async with self._database.reading() as connection:
            left = ", ".join(repr(row.id)[:_SHOWN] for row in await read_rows(connection) if row.id != target)
        told = f"; added and not activated: {left}, which another rotation may bring in, and --withdraw drops" if left else ""
        if is_changed:
            return f"done: all rows lie under {target}, which is active; the old key is needed for older backups alone{told}"
        origin = self._holder.masters.wanted.origin
        place = origin if origin == SECRET_KEY else f"the first line of {SECRET_KEYS_FILE}"
        return f"nothing to rotate: {origin} is the active key already; to bring in another make it {place}{told}"

    async def _activate(self, target: str, wait_s: float) -> None:
        deadline, told = time.monotonic() + wait_s, ""
        while lacking := await self._try_to_activate(target):
            names = ", ".join(lacking[:_NAMED]) + (f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else "")
            if time.monotonic() >= deadline:
                raise RotationStopped(
                    f"{target} was not activated, since these replicas cannot open it: {names}; give them the new key as SECRET_KEY "
                    "and the old one as SECRET_KEY_PREVIOUS (or both in SECRET_KEYS_FILE), restart them, and run this again; "
                    f"one that is gone is waited for until it was silent for {LIVE_S:.0f} seconds"
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
            # The fingerprint key will be wrapped by it: a key that bore the id before is none that anybody could unwrap it with.
            if chosen is None or not self._holder.opens(chosen):
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
        if not self._holder.opens(old):
            raise KeyMoved(f"{old.id} was dropped and brought in again meanwhile; run this again")
        wrapped = None if old.fingerprint_key is None else self._holder.wrap(new.id, self._holder.unwrap(old.id, old.fingerprint_key))
        table = tables.keys
        await connection.execute(update(table).where(table.c.state == ACTIVE).values(state=DECRYPT_ONLY))
        await connection.execute(update(table).where(table.c.id == new.id).values(state=ACTIVE, fingerprint_key=wrapped))

    async def _take_over(self, target: str) -> None:
        """The end of the audit trail too is under this key: nobody whose key it is could prove it otherwise, once the old one is gone.

        Where this is cut off the old one counts as in use: it is not dropped, and nobody starts without it.
        """
        trail = trail_of(self._holder)
        if [row.seal_key for row in await trail.find(most=1, newest=True)] in ([], [target]):
            return
        entry = AuditEntry("keys.activate", "", tables.keys.name, "cli", details={"active": target})
        await trail.append([self._fact(entry, "")])

    async def _move(self, target: str) -> int:
        """How many rows it was."""
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
        return done

    async def _drop(self, target: str, *, others_too: bool = False) -> Sequence[str]:
        """Away with what nothing lies under, but for a newer key that somebody else is about to bring in, unless ``others_too``."""
        async with self._database.writing() as connection:
            rows, used = await read_rows(connection), await ids_in_use(connection)
            if rows[0].id != target or not rows[0].is_active:
                raise KeyMoved("another key was activated meanwhile; look at --status, then run this again")
            unneeded = [
                row.id
                for row in rows[1:]
                if row.id not in used and (others_too or self._holder.opens(row) or row.created_at <= rows[0].created_at)
            ]
            await connection.execute(delete(tables.keys).where(tables.keys.c.id.in_(unneeded), tables.keys.c.state != ACTIVE))
        await self._holder.refresh()
        for key_id in unneeded:
            self._tell(f"dropped {key_id}: nothing lies under it")
        return unneeded
