"""Rows of the audit trail in a file: written as they are followed, and followed again by whoever has the file and no database.

Two forms say the same. Lines of JSON are for whoever reads them by other programs: the first tells which rows follow what, and each
other line holds the bytes of a row as they were hashed. A SQLite file holds the same bytes in a table.
"""

import asyncio
import json
import os
import re
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from keyturn.decide.auditrow import read_entry
from keyturn.decide.hashchain import START, Break, Walk
from keyturn.model.audit import Chained, Head
from keyturn.model.errors import KeyturnError
from keyturn.store.audit_reading import LARGEST, PART, NotOurs, parts
from keyturn.store.engine import Database

FORMAT: Final = "keyturn.dev/audit/1"
FORMS: Final = ("jsonl", "sqlite")

_THERE: Final = "{} is there already, and is not overwritten; name another file"
_MAGIC: Final = b"SQLite format 3\0"
_LINE: Final = re.compile(
    rb'\{"entry":(\{.*\}),"hash":"([0-9a-f]{64})","seal":(?:null|"([0-9a-f]*)"),"seal_key":("(?:[^"\\]|\\.)*")\}\n', re.DOTALL
)
_ROWS: Final = "SELECT seq, entry, hash, seal, seal_key FROM rows ORDER BY seq"
_TABLES: Final = (
    "CREATE TABLE trail (format TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, before TEXT NOT NULL)",
    "CREATE TABLE rows (seq INTEGER PRIMARY KEY, entry BLOB NOT NULL, hash BLOB NOT NULL, seal BLOB, seal_key TEXT NOT NULL)",
)


class FileRefused(KeyturnError):
    """A file that is in the way, is not there, or has no audit trail in it; the message names it."""


class TrailBroken(KeyturnError):
    """The trail is not as it was written, and so is not copied; the message names the first row that shows it."""


class _Sink(Protocol):
    def add(self, rows: Sequence[Chained]) -> None:
        """Takes rows."""

    def close(self) -> None:
        """All of them are in the file."""


async def export(database: Database, walk: Walk, last: int, path: Path, form: str) -> None:
    """Writes the rows behind where the walk stands up to the last to a new file, which has its name once it is whole and on the disk.

    Raises `TrailBroken`, `FileRefused` and `ProviderError`.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        await asyncio.to_thread(_begun, partial, path)
        sink = _sink(partial, form, walk.at, last)
        try:
            await _copy(database, walk, last, sink)
        finally:
            await asyncio.to_thread(sink.close)
        await asyncio.to_thread(_keep, partial, path)
    except (OSError, sqlite3.Error) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise FileRefused(f"{path} cannot be written: {why}") from None
    finally:
        partial.unlink(missing_ok=True)


async def stream(database: Database, walk: Walk, last: int, out: BinaryIO) -> None:
    """As `export` in lines, as they are followed: it is whole where this ends without a word. Raises as `export` does."""
    try:
        await _copy(database, walk, last, _Lines(out, walk.at, last))
        await asyncio.to_thread(out.flush)
    except OSError as error:
        raise FileRefused(f"standard output cannot be written: {os.strerror(error.errno or 0)}") from None


async def _copy(database: Database, walk: Walk, last: int, sink: _Sink) -> None:
    try:
        async for part in parts(database, walk.at.seq, last):
            if problem := await asyncio.to_thread(walk.follow, part):
                raise TrailBroken(f"the audit trail is not as it was written: {problem}")
            await asyncio.to_thread(sink.add, part)
    except NotOurs as odd:
        raise TrailBroken(f"the audit trail is not as it was written: {odd}") from None
    if walk.at.seq != last:
        raise TrailBroken(f"the audit trail is not as it was written: row {walk.at.seq + 1}: is missing")


def _begun(partial: Path, path: Path) -> None:
    if path.exists():
        raise FileRefused(_THERE.format(path))
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _keep(partial: Path, path: Path) -> None:
    """Gives the file its name, unless another has it, once all of it is on the disk."""
    sync(partial)
    try:
        os.link(partial, path)
    except FileExistsError:
        raise FileRefused(_THERE.format(path)) from None
    except OSError:  # where a file has one name at most
        partial.rename(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _sink(path: Path, form: str, begin: Head, last: int) -> _Sink:
    return _Lines(path.open("wb"), begin, last) if form == "jsonl" else _Tables(path, begin, last)


class _Lines:
    def __init__(self, file: BinaryIO, begin: Head, last: int) -> None:
        self._file = file
        header = {"format": FORMAT, "first": begin.seq + 1, "last": last, "before": begin.hash.hex()}
        self._file.write(json.dumps(header, separators=(",", ":")).encode() + b"\n")

    def add(self, rows: Sequence[Chained]) -> None:
        for row in rows:
            seal = b"null" if row.seal is None else b'"%s"' % row.seal.hex().encode()
            hashed, key = row.hash.hex().encode(), json.dumps(row.seal_key).encode()
            self._file.write(b'{"entry":%s,"hash":"%s","seal":%s,"seal_key":%s}\n' % (row.entry, hashed, seal, key))

    def close(self) -> None:
        self._file.close()


class _Tables:
    def __init__(self, path: Path, begin: Head, last: int) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # It is seen by nobody before it is whole.
        for statement in ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", *_TABLES, "BEGIN"):
            self._connection.execute(statement)
        self._connection.execute("INSERT INTO trail VALUES (?, ?, ?, ?)", (FORMAT, begin.seq + 1, last, begin.hash.hex()))

    def add(self, rows: Sequence[Chained]) -> None:
        told = [(row.seq, row.entry, row.hash, row.seal, row.seal_key) for row in rows]
        self._connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", told)

    def close(self) -> None:
        self._connection.execute("COMMIT")
        self._connection.close()


# -- reading -----------------------------------------------------------------------------------------------------------------------


def followed_file(path: Path, walk: Walk) -> tuple[Head, Break | None]:
    """Follows the rows of a file: what the first of them follows, and what is wrong with the first bad one.

    A walk at the start begins where the file does.

    Raises `FileRefused` where there is no audit trail in it.
    """
    if path.exists() and not path.is_file():
        raise FileRefused(f"{path} is no regular file, and has to be read more than once: write what it gives to one")
    try:
        with path.open("rb") as file:
            is_sqlite = file.read(len(_MAGIC)) == _MAGIC
            file.seek(0)
            if not is_sqlite:
                return _followed(path, walk, *_lines(file, path))
        with closing(_opened(path)) as connection:
            return _followed(path, walk, *_tables(connection))
    except OSError as error:
        raise FileRefused(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from None


_Raw = tuple[Any, Any, Any, Any, Any]


def _followed(path: Path, walk: Walk, header: Any, rows: Iterator[_Raw | str]) -> tuple[Head, Break | None]:
    begin, last = _begin(header, path)
    return begin, _problem(walk, begin, last, rows)


def _problem(walk: Walk, begin: Head, last: int, rows: Iterator[_Raw | str]) -> Break | None:
    if begin.seq == 0 and begin != START:
        return Break(1, "it says to follow a row before it, and is the first")
    if walk.at == START:
        walk.at = begin
    if walk.at != begin:
        return Break(begin.seq + 1, f"it does not follow row {walk.at.seq}, which is the one before it elsewhere")
    while part := _taken(rows):
        for raw in part:
            found = raw if isinstance(raw, str) else _row(raw)
            if isinstance(found, str):
                return Break(walk.at.seq + 1, found)
            if problem := walk.follow([found]):
                return problem
    if walk.at.seq != last:
        return Break(min(walk.at.seq, last) + 1, f"the file says that it ends with row {last}, and ends with row {walk.at.seq}")
    return None


def _begin(header: Any, path: Path) -> tuple[Head, int]:
    """What the first row follows, and the number of the last."""
    try:
        known, first, last, before = (header[name] for name in ("format", "first", "last", "before"))
        if known == FORMAT and type(first) is type(last) is int and 1 <= first <= last < 2**63:
            return Head(first - 1, _hash(before)), last
    except (TypeError, KeyError, ValueError):
        pass
    raise FileRefused(f"{path} is no audit trail that `keyturn audit export` wrote")


def _hash(text: Any) -> bytes:
    if not isinstance(text, str) or not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError
    return bytes.fromhex(text)


def _taken(rows: Iterator[_Raw | str]) -> list[_Raw | str]:
    return [each for _, each in zip(range(PART), rows, strict=False)]


def _row(raw: _Raw) -> Chained | str:
    """A row of a file, or what is wrong with it."""
    seq, entry, made, seal, seal_key = raw
    if not (type(entry) is bytes and type(made) is bytes and (seal is None or type(seal) is bytes) and type(seal_key) is str):
        return "it holds what is of another kind than what is written here"
    if (found := read_entry(entry)) is None:
        return "its bytes are not those of a row"
    number, texts = found
    if seq not in (None, number):
        return f"its bytes are those of row {number}"
    return Chained(number, texts, entry, made, seal, seal_key)


def _lines(file: BinaryIO, path: Path) -> tuple[Any, Iterator[_Raw | str]]:
    try:
        header = json.loads(file.readline(PART))
    except (ValueError, RecursionError):
        raise FileRefused(f"{path} is no audit trail that `keyturn audit export` wrote") from None
    return header, _of_lines(file)


def _of_lines(file: BinaryIO) -> Iterator[_Raw | str]:
    while line := file.readline(LARGEST):
        if (found := _LINE.fullmatch(line)) is None:
            yield "its line is not one that was written here"
            return
        entry, made, seal, key = found.groups()
        with suppress(ValueError):
            yield None, entry, bytes.fromhex(made.decode()), None if seal is None else bytes.fromhex(seal.decode()), json.loads(key)
            continue
        yield "its seal is not one that was written here"
        return


def _opened(path: Path) -> sqlite3.Connection:
    # Nothing is written beside it; and what is larger than a row of ours is not read.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
    return connection


def _tables(connection: sqlite3.Connection) -> tuple[Any, Iterator[_Raw | str]]:
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        made = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master LIMIT 10")}
        told = connection.execute("SELECT format, first, last, before FROM trail LIMIT 1").fetchone() if made == set(_TABLES) else None
    except sqlite3.Error:
        told = None
    return dict(zip(("format", "first", "last", "before"), told or (), strict=False)), _of_tables(connection)


def _of_tables(connection: sqlite3.Connection) -> Iterator[_Raw | str]:
    try:
        yield from connection.execute(_ROWS)
    except sqlite3.Error:
        yield "it cannot be read: the file is damaged, or holds what is no row"
