"""Leaks on purpose into files: those that a process writes, a database's, and what is copied out of it."""

import gzip
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from canary import Canary
from canary.files import dumped


@contextmanager
def in_a_file_of_a_process(canary: Canary, text: str, folder: Path) -> Iterator[None]:
    path = folder / "operator.log"
    path.write_text("ready\n")
    canary.watch_file(path)
    with path.open("a") as file:
        file.write(f"{text}\n")
    yield


@contextmanager
def in_a_database(canary: Canary, text: str, folder: Path) -> Iterator[None]:
    """In a row that was put in after the first look, and lies in the log of changes alone."""
    with closing(sqlite3.connect(folder / "own.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE log (entry TEXT)")
        connection.executemany("INSERT INTO log VALUES (?)", [("nothing" * 100,)] * 100)
        canary.watch_folder(folder, "*.db*")
        assert list(canary.scan()) == []
        connection.execute("INSERT INTO log VALUES (?)", (text,))
        assert text.encode() not in (folder / "own.db").read_bytes()
        yield


@contextmanager
def in_a_dump_of_a_database(canary: Canary, text: str) -> Iterator[None]:
    """As a server writes bytes."""
    dump = f"COPY log (entry) FROM stdin;\n\\\\x{text.encode().hex()}\n\\.\n"
    canary.watch(lambda: dumped(dump.encode()))
    yield


@contextmanager
def in_an_export(canary: Canary, text: str, folder: Path) -> Iterator[None]:
    with gzip.open(folder / "trail.jsonl.gz", "wb") as file:
        file.write(f"{text}\n".encode())
    canary.watch_folder(folder)
    yield
