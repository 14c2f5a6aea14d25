"""Moves what lies under other keys to the active one, a few rows in one transaction, so that it can be cut anywhere and go on.

A row that is not as it was written is left as it is and told of: under a new MAC nobody could see it any more.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Table, bindparam, func, select, update

from keyturn.store import tables
from keyturn.store.cipher import Keyring, Place, Tampered, UnknownKey
from keyturn.store.connection import AsyncConnection
from keyturn.store.engine import Database
from keyturn.store.keys import check_active
from keyturn.store.rows import Columns, Row, check_secret, check_version, sealed, secret_place, version_place, with_secret_mac

BATCH = 100
"""Rows in one transaction, which all writers wait for: about ten milliseconds."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one transaction did: how many rows were moved, and the places of those that could not be."""

    moved: int
    broken: Sequence[Place]


@dataclass(frozen=True, slots=True)
class _Kind:
    """One table whose rows lie under keys: how they are read, and how one is written anew."""

    table: Table
    rows: Select[Any]
    place: Callable[[Row], Place]
    moved: Callable[[Keyring, Row], Columns]


def _moved_version(ring: Keyring, row: Row) -> Columns:
    store, name = row["store"], row["name"]
    check_version(ring, store, name, row)
    value = ring.open(row["key_id"], version_place(store, name, row["version"]), row["token"])
    whole = sealed(ring, store, name, row, value)
    return {column: whole[column] for column in ("key_id", "token", "put_mac", "row_mac")}


def _moved_secret(ring: Keyring, row: Row) -> Columns:
    check_secret(ring, row)
    whole = with_secret_mac(ring, row)
    return {column: whole[column] for column in ("key_id", "row_mac")}


_KINDS = (
    _Kind(
        tables.versions,
        select(tables.versions, tables.secrets.c.store, tables.secrets.c.name).join(tables.secrets),
        lambda row: version_place(row["store"], row["name"], row["version"]),
        _moved_version,
    ),
    _Kind(tables.secrets, select(tables.secrets), lambda row: secret_place(row["store"], row["name"]), _moved_secret),
)


async def count_others(connection: AsyncConnection, key_id: str) -> int:
    """How many rows lie under other keys than this one."""
    return sum([await connection.scalar(select(func.count()).where(kind.table.c.key_id != key_id)) or 0 for kind in _KINDS])


async def reseal(database: Database, ring: Keyring) -> AsyncIterator[Step]:
    """Moves all rows to the ring's active key. Raises `KeyMoved` where it is not the active one any more."""
    for kind in _KINDS:
        after: int | None = 0
        while after is not None:
            async with database.writing() as connection:
                await check_active(connection, ring)
                after, step = await _batch(connection, ring, kind, after)
            yield step


async def _batch(connection: AsyncConnection, ring: Keyring, kind: _Kind, after: int) -> tuple[int | None, Step]:
    """The next rows after this id; the id that they end with, None where none is left."""
    column = kind.table.c
    asked = kind.rows.where(column.key_id != ring.active, column.id > after).order_by(column.id).limit(BATCH)
    rows: Sequence[Any] = (await connection.execute(asked)).mappings().all()
    changes, broken = [], []
    for row in rows:
        place = kind.place(row)
        try:
            changes.append({"row_id": row["id"], **kind.moved(ring, row)})
        except (Tampered, UnknownKey):
            broken.append(place)
    if changes:
        # By the primary key: the driver gets one statement and all rows.
        named: dict[str, Any] = {name: bindparam(name) for name in changes[0] if name != "row_id"}
        await connection.execute(update(kind.table).where(column.id == bindparam("row_id")).values(named), changes)
    return (rows[-1]["id"] if len(rows) == BATCH else None), Step(len(changes), broken)
