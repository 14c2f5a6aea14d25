"""The oldest rows of the audit trail moved out of the database, a segment at a time.

Each goes the same way: to a file, which is read back and followed, and only then, in one transaction, out of the database, which
remembers what the file has to be. Whatever ends it in between, the rows are in the database or in a whole file, and it goes on when
it is run again.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, insert, select

from keyturn.decide.auditrow import moment
from keyturn.decide.hashchain import Seal, Walk
from keyturn.decide.segment import Shelf, name_of, text_of
from keyturn.model.audit import AuditEntry, AuditRow, Fact, Head
from keyturn.model.errors import AccessDenied, KeyturnError
from keyturn.model.note import NoteRefused, UnknownSigner, VerifierKey
from keyturn.model.segment import Segment
from keyturn.store.audit_append import Scribe, SealKey, add_to_file, add_to_server
from keyturn.store.audit_file import FileRefused, TrailBroken, export, followed_file, sync
from keyturn.store.audit_partitions import Partition, cut, drop, is_owner, partitions
from keyturn.store.audit_reading import head_at
from keyturn.store.audit_segments import digest_of, segments_of
from keyturn.store.audit_tables import log, segments
from keyturn.store.checkpoints import newest_of
from keyturn.store.engine import Database
from keyturn.store.signing import SigningKey, check

PRUNED: Final = "audit.prune"
"""The action of the row that says which rows were moved, and by whom."""
MOST: Final = 100_000
"""Rows that are moved at once where the database is a file: others who write wait meanwhile."""

_OPERATORS: Final = "operator/"


class PruneRefused(KeyturnError):
    """Why no rows are moved; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which rows are to go: those up to a number, and those before the first that is not older than a time. None asks for nothing."""

    up_to: int | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pruning:
    """Use `run`. ``seal`` has the keys by which rows are followed, ``seal_key`` makes the seals of rows; ``signing`` signs segments.

    ``known`` are public keys that count as ours beside its own, as after a change of keys; ``told`` hears of each step that is done.
    """

    database: Database
    seal: Seal
    seal_key: SealKey
    signing: SigningKey
    fact: Fact
    folder: Path
    most: int = MOST
    told: Callable[[str], None] = lambda _: None
    known: Sequence[VerifierKey] = ()

    async def run(self, wish: Wish, now: datetime) -> Sequence[Segment]:
        """Moves all segments that may go. Raises `PruneRefused`, `TrailBroken`, `FileRefused` and `ProviderError`."""
        moved = []
        await self._know_the_key()
        with _alone(self.folder):
            if not self.database.is_sqlite:
                async with self.database.writing() as connection:
                    if not await is_owner(connection):
                        raise AccessDenied("the database does not let this user do it; rows are moved by the owner of its tables")
                    await cut(connection, self.most)
                self.told("cut")
            while (found := await self._next(wish)) is not None:
                begin, last, partition = found
                moved.append(await self._move(begin, last, partition, now))
        return moved

    async def _know_the_key(self) -> None:
        """What is signed here stays: by a key that signed nothing of the trail so far, `verify` could never follow it again."""
        newest, moved = await newest_of(self.database), await segments_of(self.database)
        if newest is None and not moved:
            return
        note, what = (newest.note, f"checkpoint, of row {newest.seq}") if newest else (moved[-1].note, f"segment, to row {moved[-1].last}")
        try:
            check(note, (self.signing.verifier, *self.known))
        except UnknownSigner as unknown:
            raise PruneRefused(
                f"AUDIT_SIGNING_KEY is not the key of the newest {what}: {unknown}; give that one (docs/audit.md says how to get the one"
                " that the operator made), or after a change of keys the old one's public key as AUDIT_SIGNING_KEY_PREVIOUS"
            ) from None
        except NoteRefused as refused:
            raise TrailBroken(f"the audit trail is not as it was written: the newest {what}: {refused}") from None

    async def _next(self, wish: Wish) -> tuple[Head, int, Partition | None] | None:
        """What the rows of the next segment follow, the last of them, and the partition that they are."""
        shelf = Shelf()
        if problem := shelf.follow(await segments_of(self.database)):
            raise TrailBroken(f"the audit trail is not as it was written: {problem}")
        last, _ = await self.limit(wish)
        if self.database.is_sqlite:
            last = min(last, shelf.at.seq + self.most)
            return (shelf.at, last, None) if last > shelf.at.seq else None
        async with self.database.reading() as connection:
            oldest = (await partitions(connection))[0]
        return (shelf.at, oldest.end - 1, oldest) if oldest.end is not None and shelf.at.seq < oldest.end - 1 <= last else None

    async def limit(self, wish: Wish) -> tuple[int, str]:
        """The last row that may go, and why the one behind it stays. Raises `ProviderError`."""
        later = log.alias()
        is_settled = select(later.c.seq).where(later.c.settles == log.c.event).exists()
        theirs = log.c.actor.startswith(_OPERATORS, autoescape=True)
        async with self.database.reading() as connection:
            newest = await connection.scalar(select(func.max(log.c.seq))) or 0
            unsettled = await connection.scalar(select(func.min(log.c.seq)).where(log.c.outcome == "", theirs, ~is_settled))
            young = None
            if wish.before is not None:
                young = await connection.scalar(select(func.min(log.c.seq)).where(log.c.at >= moment(wish.before)))
        signed = await newest_of(self.database)
        stays = (
            (young, "it is not older than what was asked for"),
            (None if wish.up_to is None else wish.up_to + 1, "it was not asked for"),
            (unsettled, "it is an intent that an operator has still to settle"),
            (signed.seq if signed else None, "it is the one of the newest checkpoint"),
            (newest, "it is the newest"),
        )
        first, why = min(((seq, why) for seq, why in stays if seq is not None), key=lambda each: each[0])
        return first - 1, why

    async def _move(self, begin: Head, last: int, partition: Partition | None, now: datetime) -> Segment:
        path = self.folder / name_of(begin.seq + 1, last)
        # One that is there already is of a run that was ended: it is looked at as if it were ours.
        if not await asyncio.to_thread(path.exists):
            await export(self.database, Walk(self.seal, at=begin), last, path, "sqlite")
        self.told("exported")
        made = await asyncio.to_thread(self._read_back, path, begin, last, now)
        self.told("read back")
        if await head_at(self.database, last) != made.end:
            raise FileRefused(
                f"{path} does not end as the rows in the database do: it is of another trail; take it away, and run this again"
            )
        await self._take_out(made, partition)
        self.told("taken out")
        return made

    def _read_back(self, path: Path, begin: Head, last: int, now: datetime) -> Segment:
        """The segment that this file is, from what is on the disk."""
        sync(path)
        sync(self.folder)
        walk = Walk(self.seal, at=begin)
        digest = digest_of(path)
        found, problem = followed_file(path, walk)
        if problem or found != begin or walk.at.seq != last or digest_of(path) != digest:
            raise FileRefused(f"{path} is not what was to be written ({problem or 'other rows'}); take it away, and run this again")
        bare = Segment(begin.seq + 1, last, walk.at.hash, last - begin.seq, digest, path.name, "", moment(now))
        return replace(bare, note=self.signing.sign(text_of(bare, begin.hash)))

    async def _take_out(self, segment: Segment, partition: Partition | None) -> None:
        """In one transaction: its rows go, and the database and the trail remember them."""
        details = {"file": segment.name, "sha256": segment.digest.hex(), "head": str(segment.end)}
        rows = f"rows {segment.first} to {segment.last}"
        event = f"prune-{segment.first}-{segment.digest.hex()[:16]}"
        row = self.fact(AuditEntry(PRUNED, "audit trail", rows, details=details), event)
        if partition is None:
            await self.database.write_in_one(lambda connection: self._from_file(connection, segment, row))
            return
        async with self.database.writing() as connection:
            _same_start(segment, await connection.scalar(select(func.min(log.c.seq))))
            await drop(connection, partition)
            await connection.execute(insert(segments), [_columns(segment)])
            await add_to_server(connection, [row], Scribe(self.seal_key, self.seal))
            self.told("about to commit")

    def _from_file(self, connection: sqlite3.Connection, segment: Segment, row: AuditRow) -> None:
        _same_start(segment, connection.execute(f"SELECT min(seq) FROM {log}").fetchone()[0])  # noqa: S608  # our own name, here and below
        # The one trigger that is in the way is made again before anybody else can write.
        asked = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name = ?"
        triggers = connection.execute(asked, (f"{log}_delete",)).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(f"DELETE FROM {log} WHERE seq <= ?", (segment.last,))  # noqa: S608
        for _, sql in triggers:
            connection.execute(sql)
        columns = _columns(segment)
        marks = ", ".join("?" * len(columns))
        connection.execute(f"INSERT INTO {segments} ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values()))  # noqa: S608
        add_to_file(connection, [row], Scribe(self.seal_key, self.seal))
        self.told("about to commit")


def _same_start(segment: Segment, first: Any) -> None:
    if first != segment.first:
        raise PruneRefused(f"rows from {segment.first} on are not there any more: another prune was faster; run this again")


def _columns(segment: Segment) -> dict[str, Any]:
    return {column.name: getattr(segment, column.name) for column in segments.c}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one writes into a folder at a time, and what one that was killed left half written goes."""
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise PruneRefused(f"the folder {folder} cannot be used: {os.strerror(error.errno or 0)}; make it first") from None
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PruneRefused(f"another prune is at work in {folder}; wait for it") from None
        for left in folder.glob(".keyturn-audit-*.partial"):
            left.unlink(missing_ok=True)
        yield
    finally:
        os.close(opened)
