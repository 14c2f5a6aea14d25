"""Rows of the audit trail in a file, for as long as its database is away: encrypted, in order, and there after a kill.

    magic, salt, iterations, check | length, nonce, row | length, nonce, row | …

Each row is sealed by AES-256-GCM under its number, so that none can be left out, moved or put in. The key is derived from the master
key by a salt of the file's own: the database, where the other salts are, is what is away. It costs a guess as much as there.

What is on the disk to its end counts. A last row that is cut off was acknowledged to nobody, and is dropped. One file has one writer.
"""

import asyncio
import json
import logging
import os
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keyturn.decide.auditrow import row_of, texts_of
from keyturn.model.audit import AuditRow
from keyturn.model.errors import AuditUnavailable
from keyturn.model.keys import MasterKeys
from keyturn.model.sensitive import Sensitive
from keyturn.store.cipher import ITERATIONS, MOST_ITERATIONS, SALT_BYTES, Keyring, Purpose, derive
from keyturn.store.spool_file import finished, is_in_place, taken

LARGEST: Final = 64 << 20
"""Bytes of the file; some hundred thousand rows."""

_MAGIC: Final = b"keyturn audit spool 1\n"
_CHANGED: Final = "is not as it was written: restore it, or move it away, and its rows are lost to the audit trail"
_AHEAD: Final = 1000  # rows that are looked for where one is missing
_NONCE, _TAG, _LENGTH = 12, 16, 4
_CHECK: Final = _NONCE + _TAG
_HEADER: Final = len(_MAGIC) + SALT_BYTES + 4 + _CHECK

log = logging.getLogger("keyturn.audit")

Masters = Callable[[], Awaitable[MasterKeys]]


class AuditSpool:
    """The port `Spool`. Use `open` first, which may be called again."""

    def __init__(self, path: Path, masters: Masters, *, largest: int = LARGEST, iterations: int = ITERATIONS) -> None:
        self._path, self._masters, self._largest, self._iterations = path, masters, largest, iterations
        self._file: BinaryIO | None = None
        self._seal: AESGCM | None = None
        self._salt = b""
        self._places: deque[tuple[int, int]] = deque()
        self._number = 0
        self._end = _HEADER
        self._turn = asyncio.Lock()

    @property
    def rows(self) -> int:
        """How many it holds."""
        return len(self._places)

    @property
    def size(self) -> int:
        """How many bytes are taken by rows that the trail has not yet, and those before them; the file is emptied as a whole."""
        return self._end - _HEADER if self._places else 0

    async def open(self) -> None:
        """Finds what a process before this one left there. Raises `AuditUnavailable`, and as the master keys do."""
        async with self._turn:
            if self._seal is not None:
                return
            try:
                found = await finished(self._take)
                if not await self._unlocked(found):
                    if len(found) > _HEADER:
                        raise AuditUnavailable(
                            f"{self._path} holds rows of the audit trail under a master key that was not given: give it as"
                            " SECRET_KEY_PREVIOUS, or move the file away, and these rows are lost"
                        )
                    await self._make()
                await finished(self._scan, found)
            except AuditUnavailable:
                self._seal = None
                raise
            except OSError as error:
                self._seal = None
                raise self._told(error) from None

    async def append(self, rows: Sequence[AuditRow]) -> None:
        """Adds these, or none; they are on the disk then. Raises `AuditUnavailable`."""
        await self.open()
        if not self._places and not await finished(self._is_in_place):
            await self.close()
            await self.open()
        async with self._turn:
            before = len(self._places)
            try:
                await finished(self._write, [json.dumps(dict(texts_of(row))).encode() for row in rows])
            except asyncio.CancelledError:
                # Whoever is called off takes it that none of them is there, and adds them again.
                with suppress(OSError):
                    await finished(self._take_back, len(self._places) - before)
                raise
            except OSError as error:
                raise self._told(error) from None

    async def first(self, most: int) -> Sequence[AuditRow]:
        """The oldest of them. Raises `AuditUnavailable`."""
        async with self._turn:
            try:
                return await finished(self._read, most)
            except OSError as error:
                raise self._told(error) from None

    async def drop(self, count: int) -> None:
        """The trail has the oldest of them; the file is emptied once it has all. Raises `AuditUnavailable`."""
        async with self._turn:
            for _ in range(count):
                self._places.popleft()
            if self._places:
                return
            try:
                await finished(self._empty)
            except OSError as error:
                raise self._told(error) from None

    async def close(self) -> None:
        """Another process may write it; may be called twice."""
        async with self._turn:
            if self._file is not None:
                self._file.close()
            self._file = self._seal = None

    # -- in a thread ------------------------------------------------------------------------------------------------------------

    def _take(self) -> bytes:
        """All that is in the file, which is ours alone from now on."""
        if self._file is None:
            self._file = taken(self._path, max(self._largest, LARGEST))
        self._file.seek(0)
        return self._file.read()

    def _scan(self, found: bytes) -> None:
        """Where the rows are. Raises `AuditUnavailable` where one that another follows is not as it was written."""
        self._places.clear()
        self._number, at = 0, _HEADER
        while len(found) >= at + _LENGTH + _CHECK:
            length = int.from_bytes(found[at : at + _LENGTH], "big")
            sealed = found[at + _LENGTH : at + _LENGTH + length]
            if len(sealed) < max(length, _CHECK) or self._opened(sealed, self._number) is None:
                if self._is_later(sealed) or self._is_later(_first(found[at + _LENGTH + length :])):
                    raise AuditUnavailable(f"{self._path} {_CHANGED}")
                break
            self._places.append((at + _LENGTH, length))
            self._number, at = self._number + 1, at + _LENGTH + length
        self._end = at
        if len(found) > at:
            log.warning("%s ended in a row that was not written to its end", self._path, extra={"bytes": len(found) - at})
            self._cut(at)

    def _is_later(self, sealed: bytes) -> bool:
        """Whether it is a row that comes after the one that should be here: then this is no end that was cut off."""
        return len(sealed) >= _CHECK and any(self._opened(sealed, self._number + ahead) is not None for ahead in range(1, _AHEAD))

    def _write(self, rows: Sequence[bytes]) -> None:
        if not self._is_in_place():
            raise AuditUnavailable(
                f"{self._path} was removed or replaced while rows of the audit trail were in it: put it back. Nothing is changed before,"
                " or until the database is back and takes them"
            )
        made, places, at = bytearray(), [], self._end
        for number, row in enumerate(rows, self._number):
            sealed = self._sealed(row, number)
            places.append((at + _LENGTH, len(sealed)))
            made += len(sealed).to_bytes(_LENGTH, "big") + sealed
            at += _LENGTH + len(sealed)
        if at > self._largest:
            raise AuditUnavailable(
                f"the spool of the audit trail is full ({self._largest >> 20} MiB in {self._path}): nothing is changed until the database"
                " is back and takes what is in it"
            )
        try:
            self._put(self._end, bytes(made))
        except OSError:
            self._cut(self._end)
            raise
        self._places.extend(places)
        self._number, self._end = self._number + len(rows), at

    def _read(self, most: int) -> list[AuditRow]:
        found, first = [], self._number - len(self._places)
        for number, (at, length) in zip(range(first, first + most), self._places, strict=False):
            opened = self._opened(os.pread(self._descriptor, length, at), number)
            if opened is None:
                raise AuditUnavailable(f"{self._path} {_CHANGED}")
            found.append(row_of(json.loads(opened)))
        return found

    def _put(self, at: int, content: bytes) -> None:
        while content:
            written = os.pwrite(self._descriptor, content, at)
            content, at = content[written:], at + written
        os.fsync(self._descriptor)

    def _take_back(self, count: int) -> None:
        if count:
            self._cut(self._places[-count][0] - _LENGTH)
            self._number -= count
            for _ in range(count):
                self._places.pop()

    def _empty(self) -> None:
        self._cut(_HEADER)
        self._number = 0

    def _is_in_place(self) -> bool:
        return self._file is not None and is_in_place(self._file, self._path)

    def _cut(self, at: int) -> None:
        os.ftruncate(self._descriptor, at)
        os.fsync(self._descriptor)
        self._end = at

    @property
    def _descriptor(self) -> int:
        assert self._file is not None
        return self._file.fileno()

    # -- the key ----------------------------------------------------------------------------------------------------------------

    async def _unlocked(self, found: bytes) -> bool:
        """Whether this is a spool that one of our keys opens."""
        salt, rest = found[len(_MAGIC) : len(_MAGIC) + SALT_BYTES], found[len(_MAGIC) + SALT_BYTES : _HEADER]
        iterations = int.from_bytes(rest[:4], "big")
        if len(found) < _HEADER or not found.startswith(_MAGIC) or not 1 <= iterations <= MOST_ITERATIONS:
            return False
        for master in (await self._masters()).keys:
            seal = await _key(master.words, salt, iterations)
            try:
                seal.decrypt(rest[4 : 4 + _NONCE], rest[4 + _NONCE :], found[: _HEADER - _CHECK])
            except InvalidTag:
                continue
            self._seal, self._salt = seal, salt
            return True
        return False

    async def _make(self) -> None:
        salt = secrets.token_bytes(SALT_BYTES)
        seal = await _key((await self._masters()).wanted.words, salt, self._iterations)
        head, nonce = _MAGIC + salt + self._iterations.to_bytes(4, "big"), secrets.token_bytes(_NONCE)
        await asyncio.to_thread(self._begin, head + nonce + seal.encrypt(nonce, b"", head))
        self._seal, self._salt = seal, salt

    def _begin(self, header: bytes) -> None:
        self._cut(0)
        self._put(0, header)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _sealed(self, row: bytes, number: int) -> bytes:
        assert self._seal is not None
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._seal.encrypt(nonce, row, self._salt + number.to_bytes(8, "big"))

    def _opened(self, sealed: bytes, number: int) -> bytes | None:
        assert self._seal is not None
        try:
            return self._seal.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._salt + number.to_bytes(8, "big"))
        except InvalidTag:
            return None

    def _told(self, error: OSError) -> AuditUnavailable:
        return AuditUnavailable(
            f"the spool of the audit trail, {self._path}, cannot be used: {os.strerror(error.errno or 0)}; name a folder on a volume that"
            " may be written to by --audit-spool, and make room there"
        )


def _first(rest: bytes) -> bytes:
    """The row that begins there, if it is there to its end."""
    length = int.from_bytes(rest[:_LENGTH], "big")
    return rest[_LENGTH : _LENGTH + length] if len(rest) >= _LENGTH + length else b""


async def _key(words: Sensitive, salt: bytes, iterations: int) -> AESGCM:
    ring = Keyring()
    ring.add("spool", await derive(words, salt, iterations))
    key = ring.subkey("spool", Purpose.AUDIT_SPOOL)
    assert key is not None
    return AESGCM(key.reveal())
