"""A change of one secret, within the transaction of the one writer: what is put, promoted, deleted and brought back.

Looks at the MACs of all that it is about to change before it changes anything, so that nothing which somebody else wrote
is made ours. Commits nothing itself.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from keyturn.model.errors import Conflict, NotFound
from keyturn.model.material import CURRENT, PENDING, PREVIOUS
from keyturn.model.sensitive import Sensitive
from keyturn.store.cipher import Keyring, Tampered
from keyturn.store.connection import AsyncConnection
from keyturn.store.rows import Columns, check_secret, check_version, put_mac, sealed, version_place, with_secret_mac, with_version_mac
from keyturn.store.tables import secrets, versions

NO_STAGE: Final = ""
_LAST_SEQ: Final = 1 << 62
_PART: Final = 200  # rows between two breaths of the event loop


class Change:
    """The secret of one name as it stands, and what may be done to it. Use `begin`."""

    def __init__(self, connection: AsyncConnection, ring: Keyring, row: Columns, seq: int, now: datetime) -> None:
        self._connection = connection
        self._ring = ring
        self._row = row  # without an id where there was none yet
        self._seq = seq
        self._now = now

    @classmethod
    async def begin(cls, connection: AsyncConnection, ring: Keyring, store: str, name: str, now: datetime) -> Self:
        """Raises `Tampered` where the secret's row is not as it was written."""
        asked = await connection.execute(select(secrets).where(secrets.c.store == store, secrets.c.name == name))
        found = [dict(row) for row in asked.mappings()]
        for row in found:
            check_secret(ring, row)
        seq = await connection.scalar(select(func.coalesce(func.max(secrets.c.change_seq), 0)))
        last = int(seq or 0)
        if last >= _LAST_SEQ:
            raise Tampered("a change_seq of application_secrets is higher than any change made it; restore the table from a backup")
        return cls(connection, ring, found[0] if found else _new(store, name, now), last + 1, now)

    @property
    def _is_known(self) -> bool:
        return "id" in self._row

    @property
    def _is_there(self) -> bool:
        return self._row["deleted_at"] is None and self._row["current_version"] > 0

    @property
    def _name(self) -> str:
        return str(self._row["name"])

    async def put(self, value: Sensitive, token: str, expect: str | None, stage: str, tags: Mapping[str, str] | None) -> int:
        """The version that this token made, now or before. Raises `Conflict`."""
        if (twin := await self._version(versions.c.put_token == token)) is not None:
            if not self._is_same(twin, value):
                raise Conflict(f"{self._name}: another value was put with this token before; take a new token for a new value")
            return int(twin["version"])
        self._expect(expect)
        await self._begin_anew()
        version, before = int(self._row["last_version"]) + 1, self._row["current_version"]
        if stage == CURRENT:
            self._row |= {"current_version": version, "updated_at": self._now}
        await self._save(last_version=version, tags=dict(self._row["tags"] if tags is None else tags))
        await self._restage({CURRENT: PREVIOUS, PREVIOUS: NO_STAGE} if stage == CURRENT else {PENDING: NO_STAGE}, before)
        fresh = {"secret_id": self._row["id"], "version": version, "stage": stage, "put_token": token, "enabled": True}
        fresh |= {"created_at": self._now, "change_seq": self._seq}
        await self._connection.execute(insert(versions).values(sealed(self._ring, self._row["store"], self._name, fresh, value)))
        return version

    async def promote(self, version: int) -> None:
        """Raises `NotFound`."""
        chosen = await self._version(versions.c.version == version) if self._row["deleted_at"] is None else None
        if chosen is None or not chosen["enabled"]:
            raise NotFound(f"{self._name}: there is no version {version} that could be read")
        if self._row["current_version"] == version:
            return
        before = self._row["current_version"]
        await self._save(current_version=version, updated_at=self._now)
        await self._restage({CURRENT: PREVIOUS, PREVIOUS: NO_STAGE}, before, but=version)
        await self._rewrite((chosen,), stage=CURRENT)

    async def delete(self) -> None:
        """Its versions stay, unread."""
        if self._is_known and self._row["deleted_at"] is None:
            await self._save(deleted_at=self._now, updated_at=self._now)

    async def purge(self) -> None:
        """Nothing of it stays but its name and the number of its last version."""
        if not self._is_known or self._row["purged_at"] is not None:
            return
        await self._connection.execute(delete(versions).where(versions.c.secret_id == self._row["id"]))
        bare = {"secret_type": "", "current_version": 0, "tags": {}, "expires_at": None, "purged_at": self._now, "updated_at": self._now}
        await self._save(**bare, deleted_at=self._row["deleted_at"] or self._now)

    async def undelete(self) -> None:
        """Raises `NotFound`."""
        if not self._is_known or self._row["purged_at"] is not None:
            raise NotFound(f"{self._name}: there is nothing to bring back")
        if self._row["deleted_at"] is not None:
            await self._save(deleted_at=None, updated_at=self._now)

    def _expect(self, expect: str | None) -> None:
        current = str(self._row["current_version"]) if self._is_there else ""
        if expect is not None and expect != current:
            wanted = f"version {expect} should be current" if expect else "it should not be there"
            raise Conflict(f"{self._name}: {wanted}, and {f'version {current} is' if current else 'it is not there'}; read it again")

    async def _begin_anew(self) -> None:
        """What was deleted stays unread when the name is used again."""
        if self._row["deleted_at"] is None:
            return
        still_on = or_(versions.c.enabled, versions.c.stage != NO_STAGE)
        await self._rewrite(await self._versions(versions.c.secret_id == self._row["id"], still_on), stage=NO_STAGE, enabled=False)
        self._row |= {"deleted_at": None, "purged_at": None, "expires_at": None, "current_version": 0, "tags": {}, "created_at": self._now}

    async def _restage(self, moves: Mapping[str, str], current: int, but: int = 0) -> None:
        """Gives versions other stages, in one step for all. ``current`` is the version that was it until now."""
        which = or_(versions.c.stage.in_(moves), versions.c.version == current)
        found = await self._versions(versions.c.secret_id == self._row["id"], which, versions.c.version != but)
        if current and [row["version"] for row in found if row["stage"] == CURRENT] != [current]:
            raise Tampered(f"{self._name}: its current version was taken out of the database; restore it from a backup, or purge it")
        for row in found:
            if row["stage"] in moves:
                await self._rewrite((row,), stage=moves[row["stage"]])

    def _is_same(self, row: Columns, value: Sensitive) -> bool:
        place = version_place(self._row["store"], self._name, row["version"])
        return Sensitive(put_mac(self._ring, row["key_id"], place, value)) == Sensitive(_bytes(row["put_mac"]))

    async def _version(self, which: Any) -> Columns | None:
        found = await self._versions(versions.c.secret_id == self._row["id"], which) if self._is_known else []
        return found[0] if found else None

    async def _versions(self, *which: Any) -> list[Columns]:
        """Raises `Tampered` where one of them is not as it was written."""
        columns = [column for column in versions.c if column is not versions.c.token]
        found = [dict(row) for row in (await self._connection.execute(select(*columns).where(*which))).mappings()]
        async for row in _in_parts(found):
            check_version(self._ring, self._row["store"], self._name, row)
        return found

    async def _rewrite(self, rows: Sequence[Columns], **columns: Any) -> None:
        columns |= {"change_seq": self._seq}
        macs = []
        async for row in _in_parts(rows):
            changed = with_version_mac(self._ring, self._row["store"], self._name, row | columns)
            macs.append({"row_id": row["id"], "row_mac": changed["row_mac"]})
        if macs:
            # All other writers wait: the driver gets one statement and all rows, however many a name has.
            query = update(versions).where(versions.c.id == bindparam("row_id")).values(row_mac=bindparam("row_mac"), **columns)
            await self._connection.execute(query, macs)

    async def _save(self, **columns: Any) -> None:
        self._row = with_secret_mac(self._ring, self._row | columns | {"change_seq": self._seq})
        if self._is_known:
            await self._connection.execute(update(secrets).where(secrets.c.id == self._row["id"]).values(self._row))
        else:
            made = await self._connection.execute(insert(secrets).values(self._row).returning(secrets.c.id))
            self._row["id"] = made.scalar_one()


async def _in_parts(rows: Sequence[Columns]) -> AsyncIterator[Columns]:
    """One after the other; in between the event loop does other things."""
    for number, row in enumerate(rows, 1):
        yield row
        if number % _PART == 0:
            await asyncio.sleep(0)


def _new(store: str, name: str, now: datetime) -> Columns:
    fresh: Columns = dict.fromkeys(("expires_at", "deleted_at", "purged_at"))
    fresh |= {"store": store, "name": name, "secret_type": "", "current_version": 0, "last_version": 0, "tags": {}}
    return fresh | {"created_at": now, "updated_at": now}


def _bytes(value: object) -> bytes:
    """Of a column that somebody may have filled with something else."""
    return value if isinstance(value, bytes) else b""
