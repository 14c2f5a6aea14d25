"""Who uses the database now, and which keys each of them can open: none is activated before all can."""

import asyncio
import hashlib
import logging
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, insert, or_, select, update

from keyturn.model.errors import KeyturnError
from keyturn.store import tables
from keyturn.store.connection import AsyncConnection
from keyturn.store.keys import Keyholder, read_rows, wrong_key

BEAT_S = 10.0
LIVE_S = 45.0
"""Three beats may be late, and one may be under way. Who is silent for longer and comes back finds at its first
write that its key is not active any more, and so nothing depends on this but how soon a dead replica is passed over."""

KEPT_S = 24 * 3600.0

log = logging.getLogger("keyturn.keys")


@dataclass(frozen=True, slots=True)
class Replica:
    """A process that uses the database."""

    id: str
    key_ids: frozenset[str]
    seen_at: datetime
    is_live: bool


async def now(connection: AsyncConnection) -> datetime:
    """The time by one clock for all replicas: the server's, or the machine's where the database is a file on it."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    told: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return told.astimezone(UTC)


async def read_replicas(connection: AsyncConnection) -> Sequence[Replica]:
    """All that were seen in the last day, by id. One of the future, as a clock leaves it that was wrong, is not live."""
    at, late = await now(connection), timedelta(seconds=LIVE_S)
    marks = {row.id: _mark(row.check_token) for row in await read_rows(connection) if row.is_sound}
    rows = await connection.execute(select(tables.replicas).order_by(tables.replicas.c.id))
    return [Replica(row.id, _ids(row.key_ids, marks), row.seen_at, at - late <= row.seen_at <= at + late) for row in rows]


def _ids(told: object, marks: Mapping[str, str]) -> frozenset[str]:
    """What is none of ours to read counts as no key, and so does a key whose id another one bears now."""
    return frozenset(key_id for key_id, mark in told.items() if marks.get(key_id) == mark) if isinstance(told, dict) else frozenset()


def _mark(check_token: bytes) -> str:
    """Tells a key from a later one of the same id."""
    return hashlib.sha256(check_token).hexdigest()[:32]


class Presence:
    """Says of this process that it is there, from `enter` until `leave`; `keep` does it again and again meanwhile."""

    def __init__(self, holder: Keyholder, name: str = "") -> None:
        self.id = f"{name or socket.gethostname()}-{secrets.token_hex(4)}"
        self._holder = holder
        self._database = holder.database

    async def enter(self) -> None:
        """Says so for the first time. Raises `WrongKey` where a key was activated meanwhile that this process cannot open."""
        await self._holder.refresh()
        async with self._database.writing() as connection:
            # In one transaction with the look at the active key: an activation comes before it, or sees us.
            rows = await read_rows(connection)
            if not rows or not self._holder.opens(rows[0]):
                raise wrong_key(rows[:1], self._holder.masters)
            await self._say(connection)

    async def beat(self) -> None:
        """Takes over what changed in the keys, and then says what can be opened."""
        await self._holder.refresh()
        async with self._database.writing() as connection:
            await self._say(connection)

    async def keep(self, stop: asyncio.Event, every_s: float = BEAT_S) -> None:
        """Beats until ``stop``. What fails is logged and tried again at the next beat."""
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), every_s)
            except TimeoutError:
                try:
                    await self.beat()
                except KeyturnError as error:
                    log.warning("this replica could not look at the keys of the database: %s", error)

    async def leave(self) -> None:
        """This process is going: nobody has to wait for it."""
        async with self._database.writing() as connection:
            await connection.execute(delete(tables.replicas).where(tables.replicas.c.id == self.id))

    async def _say(self, connection: AsyncConnection) -> None:
        table, at = tables.replicas, await now(connection)
        marks = {key_id: _mark(check_token) for key_id, check_token in self._holder.opened.items()}
        said = {"key_ids": marks, "seen_at": at}
        changed = await connection.execute(update(table).where(table.c.id == self.id).values(said))
        if not changed.rowcount:
            await connection.execute(insert(table).values(id=self.id, **said))
        kept = timedelta(seconds=KEPT_S)
        await connection.execute(delete(table).where(or_(table.c.seen_at < at - kept, table.c.seen_at > at + kept)))
