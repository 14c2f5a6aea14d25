"""A database that is away, full of others, or refuses us is told of by its kind, and is used again once it is back."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from keyturn.model.errors import AccessDenied, AuthFailed, Invalid, ProviderError, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.store.engine import Database
from postgres import Postgres
from store.places import postgres_place, sqlite_place, token

ONE = Sensitive.of("kt-canary-one")


async def asked(database: Database) -> None:
    async with database.reading() as connection:
        await connection.execute(text("SELECT 1"))


async def failure(database: Database) -> ProviderError:
    with pytest.raises(ProviderError) as found:
        await asked(database)
    return found.value


async def test_a_server_that_comes_back_is_used_again(postgres: Postgres) -> None:
    async with postgres_place(postgres) as place:
        await place.migrate()
        values = await place.values()
        await values.put("db", ONE, token=token())
        postgres.kill()
        for call in (values.validate(), values.put("db", ONE, token=token())):
            with pytest.raises(Unavailable, match="gave no answer"):
                await call
        postgres.start()
        answers = await values.get_many([SourceRef("db")])
        assert isinstance(answers[SourceRef("db")], Value)


async def test_a_server_that_hangs_keeps_nobody_for_ever(postgres: Postgres) -> None:
    async with postgres_place(postgres) as place:
        await place.migrate()
        values = await place.values()
        postgres.pause()
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(values.validate(), 0.5)
        finally:
            postgres.resume()
        await values.validate()


async def test_a_refused_log_in_is_told_from_an_outage(postgres: Postgres) -> None:
    async with postgres_place(postgres) as place:
        assert place.own is not None
        wrong = place.url.replace(place.own.password, "kt-canary-wrong")
        assert isinstance(found := await failure(place.database(wrong)), AuthFailed)
        assert "kt-canary" not in str(found)
        assert isinstance(await failure(place.database(place.url.replace(place.own.name + "?", "nowhere?"))), AuthFailed)
        assert isinstance(await failure(place.database(place.url.replace(f":{place.own.port}/", ":1/"))), Unavailable)


async def test_what_is_no_database_is_told_so(tmp_path: Path) -> None:
    async with sqlite_place(tmp_path) as place:
        assert place.file is not None
        place.file.write_bytes(b"kt-canary " * 1000)
        assert isinstance(found := await failure(place.database()), Invalid)
        assert "kt-canary" not in str(found)


async def test_a_folder_instead_of_a_file_cannot_be_opened(tmp_path: Path) -> None:
    async with sqlite_place(tmp_path) as place:
        assert place.file is not None
        place.file.mkdir()
        assert isinstance(await failure(place.database()), Unavailable | AccessDenied)


async def test_a_writer_that_does_not_end_is_told_of_as_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.store.engine.BUSY_S", 0.2)
    async with sqlite_place(tmp_path) as place:
        await place.migrate()
        values = await place.values()
        other = sqlite3.connect(str(place.file), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="busy with another process"):
            await values.put("db", ONE, token=token())
        await values.validate()
        other.execute("ROLLBACK")
        other.close()
        assert await values.put("db", ONE, token=token()) == "1"
