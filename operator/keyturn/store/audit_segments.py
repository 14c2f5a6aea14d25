"""The table of segments, and their files: what was moved out of the database is followed as if it were still there."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, literal_column, select

from keyturn.decide.hashchain import Break, Walk, linked
from keyturn.decide.segment import Check, Shelf, sorted_out
from keyturn.model.audit import Head
from keyturn.model.errors import KeyturnError
from keyturn.model.note import UnknownSigner, VerifierKey
from keyturn.model.segment import Segment
from keyturn.store.audit_file import FileRefused, followed_file
from keyturn.store.audit_reading import LARGEST, short, size_of
from keyturn.store.audit_tables import log, segments
from keyturn.store.connection import AsyncConnection
from keyturn.store.engine import Database
from keyturn.store.signing import check

_TEXTS: Final = ("name", "note", "at")
_NUMBERS: Final = ("first", "last", "count")


class RowsElsewhere(KeyturnError):
    """Rows that were moved out of the database into a file."""


async def segments_of(database: Database) -> Sequence[Segment]:
    """All of them in the order of their rows, as they lie there, whoever wrote them. Raises `ProviderError`."""
    async with database.reading() as connection:
        return await segments_in(connection)


async def segments_in(connection: AsyncConnection) -> Sequence[Segment]:
    """As `segments_of`."""
    columns: list[ColumnElement[Any]] = [literal_column(name).label(name) for name in _NUMBERS]
    columns += [short(connection, name, b"").label(name) for name in ("head", "digest")]
    columns += [short(connection, name, "").label(name) for name in _TEXTS]
    found = await connection.execute(select(*columns).select_from(segments).order_by(literal_column("first")))
    return [_segment(row._asdict()) for row in found]


async def shelved(database: Database, known: Sequence[VerifierKey]) -> Sequence[Segment]:
    """Those that are ours: one of the known keys signed each, they hang together from row 1 on, and the first row that is there follows
    them. None where they do not: whoever has the database could write that. Raises `ProviderError`.
    """
    if not known:
        return ()
    try:
        shelf, problem, _ = await shelf_of(database, await segments_of(database), lambda note: check(note, known))
    except UnknownSigner:
        return ()
    return () if problem or not await _is_followed(database, shelf.at) else shelf.found


async def shelf_of(database: Database, found: Sequence[Segment], known: Check | None) -> tuple[Shelf, Break | None, Sequence[Break]]:
    """What these segments make, what is wrong with the first that is not as it was written, and what somebody put in beside ours.

    The last is said where ours hang together without that, up to the first row that is there. ``known`` None asks for no signature.
    Raises `UnknownSigner`, and `ProviderError`.
    """
    if known is not None:
        ours, strangers = sorted_out(found, known)
        shelf = Shelf(known)
        if strangers and not shelf.follow(ours) and await _is_followed(database, shelf.at):
            return shelf, None, strangers
    shelf = Shelf(known)
    return shelf, shelf.follow(found), ()


async def gap(database: Database, known: Check) -> str:
    """What is wrong with the first segment that is not as it was written, or is signed by nobody who is known; '' for nothing."""
    try:
        _, problem, _ = await shelf_of(database, await segments_of(database), known)
    except UnknownSigner as unknown:
        return str(unknown)
    return str(problem or "")


async def _is_followed(database: Database, end: Head) -> bool:
    columns: list[ColumnElement[Any]] = [literal_column(name) for name in ("seq", "hash", "entry")]
    async with database.reading() as connection:
        asked = select(*columns).select_from(log).where(size_of(is_sqlite=database.is_sqlite) <= LARGEST).order_by(log.c.seq).limit(1)
        first = (await connection.execute(asked)).first()
    if first is None:
        return False
    seq, made, entry = tuple(first)
    return seq == end.seq + 1 and type(entry) is bytes and type(made) is bytes and linked(end.hash, entry) == made


def _segment(row: dict[str, Any]) -> Segment:
    """What is of another kind than it should be comes out as something that cannot be right."""
    first, last, count = (row[name] if type(row[name]) is int else -1 for name in _NUMBERS)
    head, digest = (row[name] if type(row[name]) is bytes else b"" for name in ("head", "digest"))
    texts = (row[name].decode("utf-8", "replace") if isinstance(row[name], bytes) else str(row[name]) for name in _TEXTS)
    name, note, at = texts
    return Segment(first, last, head, count, digest, name, note, at)


def followed_segments(folder: Path, found: Sequence[Segment], walk: Walk) -> Break | None:
    """Follows the files of these segments, which hang together; what is wrong with the first that is not as it was written."""
    for each in found:
        path = folder / each.name
        try:
            if digest_of(path) != each.digest:
                return Break(each.first, f"the file {each.name} that begins with it is not the one that was written")
            _, problem = followed_file(path, walk)
        except FileRefused as refused:
            return Break(each.first, f"the segment that begins with it cannot be followed: {refused}")
        if problem:
            return problem
        if walk.at != each.end:
            return Break(each.last, f"the file {each.name} ends with another row than its segment")
    return None


def digest_of(path: Path) -> bytes:
    """SHA-256 of a file. Raises `FileRefused` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise FileRefused(f"{path} cannot be read: {error.strerror}") from None
