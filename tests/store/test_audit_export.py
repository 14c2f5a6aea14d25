"""Rows of the audit trail in a file: whole or not there, and whatever somebody changes in it is found where there is no database."""

import asyncio
import re
import secrets
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from keyturn.cli import cli
from keyturn.store.audit_file import FORMS
from store.chains import all_rows
from store.places import Place
from store.test_audit import AT, filled, row, unlocked

ROWS = 20


async def said(place: Place | None, *arguments: object) -> tuple[int, str]:
    """What a command says, with a database or without one."""
    environment = {"DATABASE_URL": place.url if place else None, "SECRET_KEY": None}
    ran = await asyncio.to_thread(CliRunner().invoke, cli, ["audit", *map(str, arguments)], env=environment)
    return ran.exit_code, ran.output.strip() or str(ran.exception)


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


def changed(path: Path, old: str, new: str) -> None:
    """In lines as text, in a database by SQL."""
    if path.suffix == ".jsonl":
        before = path.read_text()
        path.write_text(re.sub(old, new, before, count=1, flags=re.MULTILINE))
        assert path.read_text() != before
    else:
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute(new).rowcount
            connection.commit()


@pytest.mark.parametrize("form", FORMS)
async def test_a_file_is_followed_without_the_database(place: Place, tmp_path: Path, form: str) -> None:
    made = await filled(place, ROWS)
    head, path = await made.head(), tmp_path / f"rows.{form}"
    assert await said(place, "export", "-o", path, "--format", form) == (0, f"{path} has rows 1 to {ROWS}; the end is {head}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    code, told = await said(None, "verify", "--file", path)
    assert (code, told.splitlines()[0]) == (0, f"rows 1 to {ROWS} hang together as they were written; the end is {head}")
    assert "seals were not checked" in told
    assert [name for name in names(tmp_path) if name.startswith(".")] == []
    code, told = await said(place, "export", "-o", "-", "--format", form)
    if form == "jsonl":
        lines = f"{path.read_text()}standard output has rows 1 to {ROWS}; the end is {head}"
        assert (code, told) == (0, lines)
    else:
        assert (code, told.splitlines()[-1]) == (2, "Error: only lines of JSON go to standard output; name a file for a database")


@pytest.mark.parametrize("form", FORMS)
async def test_a_part_says_what_it_follows(place: Place, tmp_path: Path, form: str) -> None:
    made = await filled(place, ROWS)
    rows = {each.seq: each for part in [one async for one in all_rows(made)] for each in part}
    path = tmp_path / f"part.{form}"
    assert (await said(place, "export", "-o", path, "--format", form, "--from", 6, "--to", 9))[0] == 0
    code, told = await said(None, "verify", "--file", path, "--anchor", f"9:{rows[9].hash.hex()}")
    assert (code, f"they follow 5:{rows[5].hash.hex()}, which is not in the file" in told) == (0, True)
    for anchor in (f"9:{rows[8].hash.hex()}", f"10:{rows[10].hash.hex()}"):
        assert (await said(None, "verify", "--file", path, "--anchor", anchor))[0] == 1


async def test_times_mean_all_rows_between_the_first_and_the_last(place: Place, tmp_path: Path) -> None:
    from datetime import timedelta

    made = await filled(place, 5)
    await made.append([row(f"t{n}", at=AT + timedelta(hours=n)) for n in (1, 3, 2, 4)])
    path = tmp_path / "rows.jsonl"
    given = (
        "--since",
        f"{AT + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}",
        "--until",
        f"{AT + timedelta(hours=3, minutes=1):%Y-%m-%dT%H:%M:%SZ}",
    )
    code, told = await said(place, "export", "-o", path, *given)
    assert (code, told.partition(";")[0]) == (0, f"{path} has rows 7 to 8")
    assert (await said(place, "export", "-o", tmp_path / "none", "--since", "2031-01-01"))[1].startswith("the audit trail has no rows")


async def test_a_file_that_is_there_is_left_as_it_is(place: Place, tmp_path: Path) -> None:
    await filled(place, ROWS)
    (path := tmp_path / "rows.jsonl").write_text("mine")
    code, told = await said(place, "export", "-o", path)
    assert (code, told) == (1, f"{path} is there already, and is not overwritten; name another file")
    assert path.read_text() == "mine"
    code, told = await said(place, "export", "-o", tmp_path / "nowhere" / "rows")
    assert (code, told.partition(": ")[0]) == (1, f"{tmp_path / 'nowhere' / 'rows'} cannot be written")


async def test_a_trail_that_was_changed_is_not_copied(place: Place, tmp_path: Path) -> None:
    await filled(place, ROWS)
    await unlocked(place)
    await place.execute("UPDATE secret_access_log SET actor = 'nobody' WHERE seq = 7")
    before = names(tmp_path)
    code, told = await said(place, "export", "-o", tmp_path / "rows.jsonl")
    assert (code, told.partition(": its")[0]) == (1, "the audit trail is not as it was written: row 7")
    assert names(tmp_path) == before
    assert (await said(place, "export", "-o", tmp_path / "rows.jsonl", "--to", 6))[0] == 0


# What is done to a file, as a pattern of its lines and what stands there then, and as SQL; and what is said of it.
CHANGES: dict[str, tuple[str, str, str, str]] = {
    "a name": (
        '"action":"secret.create"',
        '"action":"secret.delete"',
        "UPDATE rows SET entry = CAST(replace(CAST(entry AS TEXT), 'create', 'delete') AS BLOB) WHERE seq = 1",
        "row 1: it does not follow",
    ),
    "a row taken away": (r"^\{.*\"seq\":7,.*\n", "", "DELETE FROM rows WHERE seq = 7", "row 7: is missing"),
    "the last taken away": (
        r"^\{.*\"seq\":20,.*\n",
        "",
        "DELETE FROM rows WHERE seq = 20",
        "row 20: the file says that it ends with row 20",
    ),
    "bytes in another order": (
        r'"seq":7,"settles":""',
        r'"settles":"","seq":7',
        "UPDATE rows SET entry = CAST('{}' AS BLOB) WHERE seq = 7",
        "row 7: its bytes are not those of a row",
    ),
    "a hash": (
        r'"hash":"[0-9a-f]{8}',
        '"hash":"00000000',
        "UPDATE rows SET hash = zeroblob(32) WHERE seq = 1",
        "row 1: it does not follow",
    ),
    "what it follows": (
        r'"before":"0',
        '"before":"1',
        "UPDATE trail SET before = replace(before, '0', '1')",
        "row 1: it says to follow a row before it",
    ),
    "another kind": (r'"seal":null,"seal_key":""', '"seal":5,"seal_key":""', "UPDATE rows SET seal_key = x'00' WHERE seq = 1", "row 1: it"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", CHANGES)
async def test_what_is_changed_in_a_file_is_found(place: Place, tmp_path: Path, form: str, what: str) -> None:
    if place.server is not None:
        return  # a file is the same wherever its rows come from
    await filled(place, ROWS)
    path = tmp_path / f"rows.{form}"
    assert (await said(place, "export", "-o", path, "--format", form))[0] == 0
    pattern, instead, statement, told = CHANGES[what]
    changed(path, pattern, instead if form == "jsonl" else statement)
    code, found = await said(None, "verify", "--file", path)
    assert (code, found.removeprefix(f"{path} is not as it was written: ")[: len(told)]) == (1, told)


Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "empty": lambda _: b"",
    "another text": lambda _: b"{}\n[]\n",
    "no text": lambda _: secrets.token_bytes(5000),
    "cut short": lambda whole: whole[: len(whole) * 2 // 3],
    "an endless line": lambda whole: whole + b"x" * (20 << 20),
    "deep": lambda _: b"[" * 100_000,
    "a database of another kind": lambda _: sqlite_of("CREATE TABLE trail (first)"),
    "a view for a table": lambda _: sqlite_of(
        "CREATE VIEW trail AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x FROM n"
    ),
}


def sqlite_of(statement: str) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(statement)
        return bytes(connection.serialize())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", DAMAGES)
async def test_a_damaged_file_is_told_in_a_line(place: Place, tmp_path: Path, form: str, what: str) -> None:
    if place.server is not None:
        return
    await filled(place, ROWS)
    path = tmp_path / f"rows.{form}"
    assert (await said(place, "export", "-o", path, "--format", form))[0] == 0
    path.write_bytes(DAMAGES[what](path.read_bytes()))
    if (form, what) == ("sqlite", "an endless line"):
        return  # what lies behind a database's end is none of its
    code, told = await said(None, "verify", "--file", path)
    assert (code, len(told.splitlines())) == (1, 1), told
    assert str(path) in told
    assert len(told) < 500


async def test_odd_rows_come_back_from_a_file_as_they_were(place: Place, tmp_path: Path) -> None:
    made = await filled(place, 1)
    await made.append(
        [row("odd", subject='a"b\\c\u2028d\x00', keys=('"', "\\", "ü" * 2000), details={'"}': '\n,"hash":"'}, reason="}" * 999)]
    )
    for form in FORMS:
        path = tmp_path / f"rows.{form}"
        assert (await said(place, "export", "-o", path, "--format", form))[0] == 0
        assert (await said(None, "verify", "--file", path))[0] == 0
