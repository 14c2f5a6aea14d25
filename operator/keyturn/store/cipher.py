"""How values lie in the database: each as a Fernet token under the key of its own row, each row under a MAC.

    words --PBKDF2, salt--> key of an id --HKDF, purpose--> subkey --HKDF, place--> key of one row

Nothing of a key or a value is in any error, repr or log. Asks no database: `keyturn.store.keys` brings the keys.
"""

import asyncio
import base64
import binascii
import enum
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Never, TypeAlias
from weakref import WeakValueDictionary

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from keyturn.model.errors import Invalid, Unavailable
from keyturn.model.sensitive import Sensitive

KDF = "pbkdf2-hmac-sha256"
ITERATIONS = 600_000
_DERIVING, _FOR_TENANTS = (ThreadPoolExecutor(1, name) for name in ("keyturn-derive", "keyturn-derive-tenants"))
"""Of their own, and one each: a database that somebody filled with keys must not keep the threads that all others use."""
_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
MOST_ITERATIONS = 2_000_000
"""More than anybody would write, less than would keep a start busy for long: the number comes from the database."""

SALT_BYTES, KEY_BYTES = 16, 32
_SHOWN = 70  # signs of an id, which is shorter if we wrote it
_FORMAT = b"\x01"  # of what subkeys and MACs are taken over; another layout takes another one

Field: TypeAlias = str | int | bytes | bool | Sensitive | None
"""What a clear column holds. Times go in as text, so that each database's own way to keep them is no matter."""


class Tampered(Invalid):
    """A row is not as it was written: changed, moved from another place, or written under another key of the same id."""


class UnknownKey(Unavailable):
    """A row lies under a key that this process cannot open."""


class Purpose(enum.Enum):
    """What a subkey is for. The words are part of what it is derived from: one that changes makes all that is stored unreadable."""

    VALUE = b"value"
    ROW = b"row"
    PUT = b"put"
    CHECK = b"check"
    FINGERPRINT = b"fingerprint-key"
    AUDIT_SEAL = b"audit-seal"
    AUDIT_SPOOL = b"audit-spool"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands. No two rows share a place; ``version`` is 0 for a row that has none."""

    table: str
    store: str = ""
    name: str = ""
    version: int = 0

    def framed(self) -> bytes:
        """As bytes that no other place has."""
        return _framed([part.encode("utf-8", "surrogatepass") for part in (self.table, self.store, self.name, str(self.version))])

    def __str__(self) -> str:
        return f"{self.name or self.table!r} of store {self.store!r}" if self.store else repr(self.name or self.table)


async def derive(words: Sensitive, salt: bytes, iterations: int, tenant: str | None = None) -> Sensitive:
    """The key that these words are for this salt. Takes a fifth of a second of a thread, and none of the event loop.

    Those of tenants wait for each other, one of each at a time, and the operator's own (None) for none of them.
    """
    work = partial(hashlib.pbkdf2_hmac, "sha256", words.reveal(), salt, iterations, KEY_BYTES)
    loop = asyncio.get_running_loop()
    if tenant is None:
        return Sensitive(await loop.run_in_executor(_DERIVING, work))
    async with _turns.setdefault(tenant, asyncio.Lock()):
        return Sensitive(await loop.run_in_executor(_FOR_TENANTS, work))


class Keyring:
    """Keys that this process can open, by id; new rows are written under the active one.

    Held by whoever reads and writes rows, kept up to date by `keyturn.store.keys`. Holds no words, and no key of a row:
    to make one anew takes two microseconds, and so there is never more than one of them in memory for long.
    """

    __slots__ = ("_active", "_subkeys")

    def __init__(self) -> None:
        self._active = ""
        self._subkeys: dict[str, dict[Purpose, Sensitive]] = {}

    def add(self, key_id: str, key: Sensitive) -> None:
        """From now on rows under this id can be read; ``key`` is what `derive` gave."""
        self._subkeys[key_id] = {purpose: _expand(key, _framed((purpose.value,))) for purpose in Purpose}

    def activate(self, key_id: str) -> None:
        """From now on rows are written under this key. Raises `UnknownKey`."""
        self._of(key_id, Purpose.VALUE, Place("encryption_keys"))
        self._active = key_id

    def drop(self, key_id: str) -> None:
        """The key is not needed any more; the active one stays."""
        if key_id != self._active:
            self._subkeys.pop(key_id, None)

    @property
    def active(self) -> str:
        """The id of the key that rows are written under; '' before there is one."""
        return self._active

    @property
    def ids(self) -> frozenset[str]:
        """The keys that can be opened."""
        return frozenset(self._subkeys)

    def seal(self, place: Place, value: Sensitive, *, key_id: str = "", purpose: Purpose = Purpose.VALUE) -> tuple[str, bytes]:
        """The id of the key (the active one, or the given) and the token. Raises `UnknownKey`."""
        key_id = key_id or self._active
        return key_id, self._fernet(key_id, purpose, place).encrypt(value.reveal())

    def open(self, key_id: str, place: Place, token: object, *, purpose: Purpose = Purpose.VALUE) -> Sensitive:
        """What was sealed here. Raises `Tampered` for anything else, and `UnknownKey`."""
        fernet = self._fernet(key_id, purpose, place)
        if not isinstance(token, bytes) or not _is_canonical(token):
            raise _tampered(place)
        try:
            return Sensitive(fernet.decrypt(token))
        except InvalidToken:
            raise _tampered(place) from None

    def mac(self, key_id: str, place: Place, fields: Mapping[str, Field], *, purpose: Purpose = Purpose.ROW) -> bytes:
        """32 bytes over the place and these columns, whose order does not matter. Raises `UnknownKey`.

        `Purpose.PUT` is for what must not pass for a row's MAC: a value that was put, so that another one can be told from it.
        """
        key = self._of(key_id, purpose, place)
        return hmac.digest(key.reveal(), _framed([place.framed(), *_fields(fields)]), "sha256")

    def subkey(self, key_id: str, purpose: Purpose) -> Sensitive | None:
        """A key for this purpose alone; None where that of this id cannot be opened."""
        return self._subkeys.get(key_id, {}).get(purpose)

    def verify_mac(self, key_id: str, place: Place, fields: Mapping[str, Field], mac: object) -> None:
        """Raises `Tampered` where the MAC is not that of these columns at this place, and `UnknownKey`. Takes the same time for any."""
        if not hmac.compare_digest(self.mac(key_id, place, fields), mac if isinstance(mac, bytes) else b""):
            raise _tampered(place)

    def _fernet(self, key_id: str, purpose: Purpose, place: Place) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(_expand(self._of(key_id, purpose, place), place.framed()).reveal()))

    def _of(self, key_id: str, purpose: Purpose, place: Place) -> Sensitive:
        try:
            return self._subkeys[key_id][purpose]
        except KeyError:
            raise UnknownKey(f"{place} lies under the key {repr(key_id)[:_SHOWN]}, which no master key that was given opens") from None

    def __repr__(self) -> str:
        return f"Keyring({', '.join(sorted(self._subkeys))}; active {self._active or 'none'})"

    def __reduce_ex__(self, protocol: object) -> Never:
        message = "a keyring cannot be pickled or copied"
        raise TypeError(message)


def _expand(key: Sensitive, info: bytes) -> Sensitive:
    """HKDF without its first half, which is for keys that are not evenly random: PBKDF2's and its own are."""
    return Sensitive(HKDFExpand(hashes.SHA256(), KEY_BYTES, info).derive(key.reveal()))


def _framed(parts: Iterable[bytes]) -> bytes:
    """Each part with its length before it: joined by a separator, two places could be one."""
    return _FORMAT + b"".join([piece for part in parts for piece in (len(part).to_bytes(8, "big"), part)])


def _fields(fields: Mapping[str, Field]) -> list[bytes]:
    return [part for name, field in sorted(fields.items()) for part in (name.encode("utf-8", "surrogatepass"), _typed(field))]


def _typed(field: object) -> bytes:
    """A field with its type before it: nothing, no text and zero are three things. SQLite gives what somebody else put there."""
    match field:
        case str():
            return b"'" + field.encode("utf-8", "surrogatepass")
        case None:
            return b"-"
        case bool():
            return b"?1" if field else b"?0"
        case int():
            return b"#%d" % field
        case Sensitive():
            return b"=" + field.reveal()
        case bytes():
            return b"=" + field
        case _:
            return b"!"


def _is_canonical(token: bytes) -> bool:
    """Whether it is spelled as Fernet spells it: decoders of base64 pass over strange signs and spare bits."""
    try:
        return base64.urlsafe_b64encode(base64.urlsafe_b64decode(token)) == token
    except (binascii.Error, ValueError):
        return False


def _tampered(place: Place) -> Tampered:
    return Tampered(f"{place} is not as it was written to the database; restore its row from a backup")
