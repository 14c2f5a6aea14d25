"""A database that is away, full of others, or refuses us is told of by its kind, and is used again once it is back."""

import asyncio
import sqlite3
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from keyturn.model.errors import AccessDenied, AuthFailed, Invalid, ProviderError, Unavailable
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.store.engine import Database, open_database
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


async def test_why_nobody_answers_is_told_of_the_own_database(postgres: Postgres, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(postgres.authority.cert_pem.bytes())
    async with postgres_place(postgres) as place:
        own = place.own
        assert own is not None
        trusting = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "ca.pem")}
        await asked(place.database(own.url(own.user, **trusting)))
        for url, told in {
            own.url(own.user, "kt-canary.invalid"): "the URL's host is not known",
            place.url.replace(f":{own.port}/", ":1/"): "nobody listens at the URL's host and port",
            own.url(own.user, "localhost", **trusting): "its certificate is for another name",
            own.url(own.user, **trusting | {"sslrootcert": "/etc/ssl/certs/ca-certificates.crt"}): "of no authority that is trusted here",
            own.url(own.user, **trusting | {"sslrootcert": "/kt-canary"}): "the file that sslrootcert names is not there",
            f"postgresql:///{own.name}?host=/kt-canary": "there is no server at the socket",
        }.items():
            found = await failure(place.database(url))
            assert isinstance(found, Unavailable)
            assert str(found).startswith("the database gave no answer: ")
            assert told in str(found)
            assert "kt-canary" not in str(found)


async def test_the_systems_authorities_are_trusted_where_the_url_names_none(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with postgres_place(postgres) as place:
        assert place.own is not None
        url = place.own.url(place.own.user, sslmode="verify-full")
        assert "of no authority" in str(await failure(place.database(url)))
        (tmp_path / "ca.pem").write_bytes(postgres.authority.cert_pem.bytes())
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        await asked(place.database(url))


async def test_what_listens_and_is_no_postgresql_is_told_so() -> None:
    async def chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 kt-canary\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(chat, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        database = open_database(Sensitive.of(f"postgresql://u@127.0.0.1:{port}/d?sslmode=disable"))
        assert str(await failure(database)).endswith("is no PostgreSQL")
        await database.close()


async def test_why_nobody_answers_is_not_told_of_a_tenants() -> None:
    async def connect() -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect("postgresql://u@127.0.0.1:1/d?sslmode=disable")

    database = open_database(Sensitive.of("postgresql://"), connect)
    assert str(await failure(database)) == "the database gave no answer"
    await database.close()
