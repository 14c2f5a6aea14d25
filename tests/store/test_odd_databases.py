"""A file that goes away under whoever uses it, a server with defaults of its own, and one that knows no encoding."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from keyturn.cli import cli
from keyturn.model.errors import Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.store.file import TAKEN_AWAY
from keyturn.store.values import SqlValues
from postgres import Database as Own
from postgres import Postgres
from store.places import Place, postgres_place, sqlite_place, token

ONE = Sensitive.of("kt-canary-one")
OTHERS = 20


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """With SQLite's file in a folder of its own."""
    (folder := tmp_path / "volume").mkdir()
    async with sqlite_place(folder) as place:
        await place.migrate()
        yield place


@pytest.fixture
async def values(place: Place) -> SqlValues:
    """In use: connections are open, and a value is there."""
    made = await place.values()
    await asyncio.gather(*(made.put(f"s{at}", ONE, token=token()) for at in range(OTHERS)), *(made.validate() for _ in range(OTHERS)))
    return made


async def refused(values: SqlValues, why: str = "taken away or replaced") -> None:
    """Every call says why, and so does each of many at once."""
    calls = [values.put("db", ONE, token=token()), values.validate(), *(values.versions("s0") for _ in range(OTHERS))]
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(answer, Unavailable), answer
        assert why in str(answer)
        assert "restart" in str(answer)


def folder_of(place: Place) -> Path:
    assert place.file is not None
    return place.file.parent


async def test_into_a_file_that_was_taken_away_nothing_is_told_as_stored_and_none_is_made_anew(values: SqlValues, place: Place) -> None:
    for path in folder_of(place).iterdir():
        path.unlink()
    await refused(values, TAKEN_AWAY)
    await refused(values, TAKEN_AWAY)
    assert list(folder_of(place).iterdir()) == []


async def test_a_file_that_another_was_put_in_place_of_is_left_alone(values: SqlValues, place: Place, tmp_path: Path) -> None:
    assert place.file is not None
    backup = tmp_path / "backup"
    shutil.copyfile(place.file, backup)
    before = backup.read_bytes()
    backup.rename(place.file)
    await refused(values)
    assert place.file.read_bytes() == before


async def is_used(values: SqlValues, name: str) -> None:
    """What was there is there, and what is written now too, also for somebody else."""
    await asyncio.gather(*(values.put(f"{name}{at}", ONE, token=token()) for at in range(OTHERS)))
    refs = [SourceRef("s0"), *(SourceRef(f"{name}{at}") for at in range(OTHERS))]
    assert all(isinstance(found, Value) for found in (await values.get_many(refs)).values())


@pytest.mark.parametrize("whole", [True, False], ids=["the folder", "the file alone"])
async def test_the_same_file_is_used_again_when_it_is_back(values: SqlValues, place: Place, tmp_path: Path, whole: bool) -> None:  # noqa: FBT001
    assert place.file is not None
    taken, aside = folder_of(place) if whole else place.file, tmp_path / "aside"
    for turn in ("a", "b"):
        taken.rename(aside)  # as a volume that is mounted again
        await refused(values, TAKEN_AWAY)
        aside.rename(taken)
        await is_used(values, turn)
    await is_used(await place.values(), "c")
    assert isinstance((await values.get_many([SourceRef("c0")]))[SourceRef("c0")], Value)


async def test_where_another_was_seen_in_its_place_it_is_refused_until_a_restart_and_read_after_one(
    values: SqlValues, place: Place, tmp_path: Path
) -> None:
    assert place.file is not None
    place.file.rename(aside := tmp_path / "aside")
    await refused(values, TAKEN_AWAY)
    shutil.copyfile(aside, place.file)
    await refused(values)
    aside.rename(place.file)
    await refused(values)
    assert isinstance((await (await place.values()).get_many([SourceRef("s0")]))[SourceRef("s0")], Value)


async def test_a_new_file_never_passes_for_the_old_one_by_its_number(place: Place) -> None:
    assert place.file is not None
    shutil.copyfile(place.file, backup := folder_of(place) / "backup")
    values = await place.values()
    await values.validate()
    number = place.file.stat().st_ino
    for path in (place.file, place.file.with_name(f"{place.file.name}-wal"), place.file.with_name(f"{place.file.name}-shm")):
        path.unlink(missing_ok=True)
    await refused(values, TAKEN_AWAY)  # which closes all that had it open
    for each in range(OTHERS):
        (made := folder_of(place) / str(each)).touch()
        assert made.stat().st_ino != number
    backup.rename(place.file)
    await refused(values)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize("whose", ["ROLE", "DATABASE"])
async def test_many_write_at_once_whatever_isolation_the_server_gives_by_default(postgres: Postgres, whose: str, level: str) -> None:
    async with postgres_place(postgres) as place:
        await place.migrate()
        assert place.own is not None
        name = place.own.user if whose == "ROLE" else place.own.name
        postgres.execute(f"ALTER {whose} {name} SET default_transaction_isolation = '{level}'")
        many = [await place.values() for _ in range(3)]
        writing = (many[at % 3].put(f"s{at}", ONE, token=token()) for at in range(OTHERS))
        assert await asyncio.gather(*writing) == ["1"] * OTHERS


@pytest.fixture
def unencoded(postgres: Postgres) -> Iterator[Own]:
    """A database whose texts are bytes to the server."""
    made = postgres.create()
    postgres.execute(f"DROP DATABASE {made.name}")
    locale = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    postgres.execute(f"CREATE DATABASE {made.name} OWNER {made.owner} {locale}")
    yield made
    postgres.drop(made)


async def test_a_database_that_knows_no_encoding_is_upgraded_and_holds_what_is_put_there(unencoded: Own) -> None:
    environment = {"DATABASE_OWNER_URL": unencoded.owner_url, "DATABASE_URL": unencoded.user_url}
    ran = await asyncio.to_thread(CliRunner().invoke, cli, ["db", "upgrade"], env=environment)
    assert (ran.exit_code, ran.exception) == (0, None)
    place = Place(unencoded.user_url, unencoded.owner_url)
    try:
        values, name = await place.values(), "kt-canary-schlüssel-鍵"
        await values.put(name, ONE, token=token())
        assert [meta.key async for meta in values.list()] == [name]
        found = (await values.get_many([SourceRef(name)]))[SourceRef(name)]
        assert isinstance(found, Value)
        assert found.data == ONE
    finally:
        await place.close()
