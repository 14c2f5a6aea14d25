"""The rows of encryption_keys: read, proved against the master keys that were given, and made only while the database is empty.

A key that does not fit, or is lost, is found before anything is read or written with it. Holds no words in any error.
"""

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import exists, insert, select, union, update

from keyturn.decide.fingerprint import KEY_BYTES as FINGERPRINT_BYTES
from keyturn.decide.fingerprint import FingerprintKey
from keyturn.model.errors import KeyturnError, Unavailable
from keyturn.model.keys import KEY_ID, MasterKey, MasterKeys
from keyturn.model.sensitive import Sensitive
from keyturn.store import audit_tables, tables
from keyturn.store.cipher import ITERATIONS, KDF, MOST_ITERATIONS, SALT_BYTES, Keyring, Place, Purpose, Tampered, UnknownKey, derive
from keyturn.store.connection import AsyncConnection
from keyturn.store.engine import Database

ACTIVE, DECRYPT_ONLY = "active", "decrypt_only"
_CHECKED = Sensitive(b"keyturn")
_MOST_KEYS = 16
_SHOWN = 70  # signs of an id, which is shorter if we wrote it
_SEALED = (tables.secrets, tables.versions)
_CONTENT = (*_SEALED, audit_tables.log)


class WrongKey(KeyturnError):
    """No master key that was given opens a key that the database needs."""


class KeyLost(KeyturnError):
    """The database holds what was written under a key, and no row that tells of it."""


class KeyMoved(Unavailable):
    """Another process changed the keys meanwhile; nothing was done, and after a `Keyholder.refresh` it can be."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What the database keeps of one key: enough to derive it from its words and to tell right ones from wrong ones."""

    id: str
    salt: bytes
    iterations: int
    kdf: str
    state: str
    check_token: bytes
    fingerprint_key: bytes | None
    created_at: datetime

    @property
    def is_active(self) -> bool:
        """Whether new rows are written under it."""
        return self.state == ACTIVE

    @property
    def is_sound(self) -> bool:
        """Whether it can be worked with at all: whoever has the database may have written anything there."""
        kinds = (type(self.salt), type(self.check_token), type(self.iterations))
        return self.kdf == KDF and kinds == (bytes, bytes, int) and len(self.salt) == SALT_BYTES and 1 <= self.iterations <= MOST_ITERATIONS


def place_of(key_id: str) -> Place:
    """Of a row of encryption_keys."""
    return Place("encryption_keys", "", key_id)


async def read_rows(connection: AsyncConnection) -> tuple[KeyRow, ...]:
    """All keys, the active one first, then the newest."""
    found = await connection.execute(select(tables.keys))
    rows = [KeyRow(**{**row, "id": str(row["id"])}) for row in found.mappings()]
    return tuple(sorted(sorted(rows, key=lambda row: row.created_at, reverse=True), key=lambda row: not row.is_active))


async def ids_in_use(connection: AsyncConnection) -> frozenset[str]:
    """The keys that rows lie under, and the end of the audit trail, which a rotation that was cut off leaves under the former one."""
    end = select(audit_tables.log.c.seal_key).order_by(audit_tables.log.c.seq.desc()).limit(1).scalar_subquery()
    known = select(tables.keys.c.id).where(tables.keys.c.id == end)  # what else stands there is none of ours, and told at an append
    return frozenset(await connection.scalars(union(*(select(table.c.key_id) for table in _SEALED), known)))


async def is_empty(connection: AsyncConnection) -> bool:
    """Whether nothing was ever written that a key could have been needed for."""
    for table in _CONTENT:
        if await connection.scalar(select(exists(select(table)))):
            return False
    return True


async def check_active(connection: AsyncConnection, ring: Keyring) -> None:
    """Raises `KeyMoved` where no row may be written under this ring's active key any more.

    Asked in the transaction of each write, for which others wait: after a rotation nothing may come to lie under the old key.
    An id alone does not tell: a key that was dropped and is brought in again bears its old one, and has another salt.
    """
    asked = select(tables.keys.c.id, tables.keys.c.check_token).where(tables.keys.c.state == ACTIVE)
    found = (await connection.execute(asked)).first()
    if found is None or found.id != ring.active or not _fits(ring, found.id, found.check_token):
        raise KeyMoved("another key of the database was activated meanwhile; try again")


async def made(master: MasterKey, state: str, iterations: int = ITERATIONS, tenant: str | None = None) -> tuple[KeyRow, Sensitive]:
    """A new row for a master key, not yet stored, and the key that it is for."""
    salt = secrets.token_bytes(SALT_BYTES)
    key_id = master.id or f"k-{secrets.token_hex(4)}"
    key = await derive(master.words, salt, iterations, tenant)
    _, token = _alone(key_id, key).seal(place_of(key_id), _CHECKED, key_id=key_id, purpose=Purpose.CHECK)
    return KeyRow(key_id, salt, iterations, KDF, state, token, None, datetime.now(UTC)), key


async def store(connection: AsyncConnection, row: KeyRow) -> None:
    """Stores a new row."""
    await connection.execute(insert(tables.keys).values({name: getattr(row, name) for name in KeyRow.__dataclass_fields__}))


def proves(row: KeyRow, key: Sensitive) -> bool:
    """Whether this is the key that the row was made for."""
    return _fits(_alone(row.id, key), row.id, row.check_token)


def _fits(ring: Keyring, key_id: str, check_token: object) -> bool:
    try:
        return ring.open(key_id, place_of(key_id), check_token, purpose=Purpose.CHECK) == _CHECKED
    except (Tampered, UnknownKey):
        return False


def _alone(key_id: str, key: Sensitive) -> Keyring:
    ring = Keyring()
    ring.add(key_id, key)
    return ring


class Keyholder:
    """Keeps a keyring as the table says: at start by `open`, later by `refresh`.

    ``ring`` is one object for as long as this lives; whoever has it sees what changed. ``tenant``: whose database it is, which may
    cost no more than what we would have written there; None for the operator's own.
    """

    def __init__(self, database: Database, masters: MasterKeys, iterations: int = ITERATIONS, *, tenant: str | None = None) -> None:
        self.database = database
        self.masters = masters
        self.ring = Keyring()
        self._iterations = iterations
        self._tenant = tenant
        self._opened: dict[str, tuple[bytes, MasterKey]] = {}
        self._unopened: set[tuple[str, bytes]] = set()
        self._turn = asyncio.Lock()

    async def open(self) -> Keyring:
        """Proves that all that is stored can be read, and makes the first key where nothing is stored yet.

        Raises `WrongKey` and `KeyLost`; nothing was changed then.
        """
        async with self._turn:
            return await self._open()

    async def _open(self) -> Keyring:
        async with self.database.reading() as connection:
            rows, used, is_fresh = await _look(connection)
        if is_fresh:
            await self._make_first()
            async with self.database.reading() as connection:
                rows, used, _ = await _look(connection)
        check_whole(rows, used)
        await self._take(rows)
        needed = [row for row in rows if (row.is_active or row.id in used) and not self.opens(row)]
        if needed:
            raise wrong_key(needed, self.masters)
        return self.ring

    async def refresh(self) -> None:
        """Takes over what another process changed: new keys, another active one, keys that were dropped.

        Raises `KeyLost` or `WrongKey` where no active key is left that could be opened; the ring stays as it was then.
        """
        # One after the other: what was read before somebody else's change must not be taken over after it.
        async with self._turn:
            async with self.database.reading() as connection:
                rows = await read_rows(connection)
            check_whole(rows, ())
            await self._take(rows)
            if not self.opens(rows[0]):
                raise wrong_key(rows[:1], self.masters)

    @property
    def opened(self) -> Mapping[str, bytes]:
        """The check token of each key that was opened, by its id: other ones after a `refresh` that brought anything."""
        return {key_id: check_token for key_id, (check_token, _) in self._opened.items()}

    def opens(self, row: KeyRow) -> bool:
        """Whether the ring has the key of this row, and not one that bore its id before."""
        return row.id in self._opened and self._opened[row.id][0] == row.check_token

    def opened_by(self, key_id: str) -> MasterKey | None:
        """The master key that opened this one; None where none did."""
        return self._opened[key_id][1] if key_id in self._opened else None

    async def fingerprint_key(self) -> FingerprintKey:
        """The key of revisions where there is no cluster that keeps it; made once. Raises `Tampered`, and as `refresh`."""
        await self.refresh()
        async with self.database.writing() as connection:
            row = (await read_rows(connection))[0]
            if not self.opens(row):
                raise KeyMoved("the keys of the database are being changed; try again")
            if row.fingerprint_key is None:
                wrapped = self.wrap(row.id, Sensitive(secrets.token_bytes(FINGERPRINT_BYTES)))
                await connection.execute(update(tables.keys).where(tables.keys.c.id == row.id).values(fingerprint_key=wrapped))
                return FingerprintKey.of(self.unwrap(row.id, wrapped))
        return FingerprintKey.of(self.unwrap(row.id, row.fingerprint_key))

    def wrap(self, key_id: str, fingerprint_key: Sensitive) -> bytes:
        """Seals a fingerprint key for the row of this key."""
        return self.ring.seal(place_of(key_id), fingerprint_key, key_id=key_id, purpose=Purpose.FINGERPRINT)[1]

    def unwrap(self, key_id: str, wrapped: bytes) -> Sensitive:
        """The fingerprint key that was sealed for this row. Raises `Tampered`."""
        return self.ring.open(key_id, place_of(key_id), wrapped, purpose=Purpose.FINGERPRINT)

    async def _make_first(self) -> None:
        row, _ = await made(self.masters.wanted, ACTIVE, self._iterations, self._tenant)
        async with self.database.writing() as connection:
            # Another process may have been first; its key holds.
            if not await read_rows(connection) and await is_empty(connection):
                await store(connection, row)

    async def _take(self, rows: Sequence[KeyRow]) -> None:
        known = frozenset(row.id for row in rows)
        shut = [row.id for row in rows if self._may_try(row) and not self.opens(row) and not await self._try(row, known)]
        if self.opens(rows[0]):
            self.ring.activate(rows[0].id)
            for gone in self.ring.ids - known:
                self._forget(gone)
        for key_id in shut:  # what the ring may have under this id is the key of a row that is gone
            self._forget(key_id)

    def _forget(self, key_id: str) -> None:
        self.ring.drop(key_id)
        self._opened.pop(key_id, None)

    def _may_try(self, row: KeyRow) -> bool:
        # Only one number was ever written, so far.
        return row.is_sound and (self._tenant is None or row.iterations == self._iterations)

    async def _try(self, row: KeyRow, known: frozenset[str]) -> bool:
        if (row.id, row.check_token) in self._unopened:
            return False
        for master in self.masters.candidates(row.id, known):
            key = await derive(master.words, row.salt, row.iterations, self._tenant)
            if proves(row, key):
                self.ring.add(row.id, key)
                self._opened[row.id] = (row.check_token, master)
                return True
        # Each try takes a fifth of a second of CPU, and the words do not change while we run.
        self._unopened.add((row.id, row.check_token))
        return False


async def _look(connection: AsyncConnection) -> tuple[Sequence[KeyRow], Collection[str], bool]:
    """All keys, those that rows lie under, and whether nothing was ever written; all of one time.

    PostgreSQL answers each question as of its own time: a rotation between two of them would look like a key that was lost.
    """
    rows = await read_rows(connection)
    while True:
        used = await ids_in_use(connection)
        is_fresh = not rows and await is_empty(connection)
        before, rows = rows, await read_rows(connection)
        if rows == before:
            return rows, used, is_fresh


def check_whole(rows: Sequence[KeyRow], used: Collection[str]) -> None:
    """Raises `KeyLost` where a row of encryption_keys is missing, or none or two are active."""
    lost = set(used) - {row.id for row in rows}
    if lost or not rows:
        named = ", ".join(sorted(repr(key_id)[:_SHOWN] for key_id in lost)) or "any key"
        raise KeyLost(f"encryption_keys has no row for {named}, and the database is not empty: restore that table from a backup")
    if len(rows) > _MOST_KEYS:
        raise KeyLost(f"encryption_keys has more than {_MOST_KEYS} rows, which no rotation leaves: restore that table from a backup")
    if sum(row.is_active for row in rows) != 1:
        raise KeyLost("encryption_keys must have one row that is active, and only one: restore that table from a backup")


def wrong_key(rows: Sequence[KeyRow], masters: MasterKeys) -> WrongKey:
    """What is said where keys that are needed do not open."""
    named = ", ".join(repr(row.id) for row in rows if KEY_ID.fullmatch(row.id)) or "the database's keys"
    origins = [key.origin for key in masters.keys]
    given = f"{origins[0]} does not open" if len(origins) == 1 else f"neither {' nor '.join(origins)} opens"
    return WrongKey(
        f"{given} {named} of encryption_keys, nothing was changed: give the key that it was made with, as SECRET_KEY, "
        "as SECRET_KEY_PREVIOUS, or in SECRET_KEYS_FILE; where that is the one, restore the table from a backup"
    )
