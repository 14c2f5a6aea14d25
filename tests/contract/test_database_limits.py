"""What a tenant's database may cost, whatever its owner put there: memory, rows, rounds, and room beside others."""

import asyncio
import secrets
import tracemalloc
from collections.abc import Callable
from time import process_time

import pytest

from contract.tenants import KEY, LOOPBACK, ONE, URL, Kept, answer, fill, is_read
from keyturn.model.errors import AuthFailed, Invalid
from keyturn.model.keys import MasterKeys
from keyturn.model.sensitive import Sensitive
from keyturn.providers.room import Room
from keyturn.providers.sql_dial import Server, connect
from keyturn.store.databases import SqlDatabases
from keyturn.store.reading import MOST_LISTED
from keyturn.store.values import LARGEST_TAGS
from postgres import Database, Postgres


async def test_a_tenants_key_costs_no_more_than_what_was_written(kept: Kept, opening, postgres: Postgres, migrated: Database) -> None:
    await fill(kept)
    postgres.execute("UPDATE encryption_keys SET iterations = 2000000", migrated.name)
    keyring = "INSERT INTO encryption_keys SELECT 'k' || n, salt, 2000000, kdf, 'decrypt_only', 'kt-canary', NULL, created_at"
    postgres.execute(f"{keyring} FROM encryption_keys, generate_series(1, 15) n", migrated.name)
    began = process_time()
    with pytest.raises(AuthFailed, match="keySecretRef does not open"):
        await opening().validate()
    assert process_time() - began < 2  # each of the 16 would have taken near one


@pytest.fixture
def disguised(migrated: Database, postgres: Postgres) -> Callable[..., None]:
    """Puts a view in the place of a table, where these columns are as they are said to be, and each row comes so many times."""

    def disguise(table: str, rows: int = 1, **said: str) -> None:
        asked = f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' ORDER BY ordinal_position"
        found = postgres.execute(asked, migrated.name)
        columns = ", ".join(f"{said.get(name, name)} AS {name}" for (name,) in found)
        postgres.execute(f"ALTER TABLE {table} RENAME TO honest", migrated.name)
        postgres.execute(f"CREATE VIEW {table} AS SELECT {columns} FROM honest, generate_series(1, {rows})", migrated.name)
        postgres.execute(f"GRANT ALL ON {table} TO {migrated.user}", migrated.name)

    return disguise


async def test_tags_that_would_be_many_times_as_long_in_memory_are_not_decoded(kept: Kept, opening, disguised) -> None:
    await fill(kept)
    disguised("application_secrets", tags="('['||repeat('[],', 3000000)||'[]]')::json")
    provider = opening()
    tracemalloc.start()
    assert isinstance(await answer(provider), Invalid)
    assert [meta.tags async for meta in provider.list()] == [{}]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64 << 20  # the text has 9 MiB


async def test_tags_as_long_as_they_may_be_are_read(kept: Kept, opening) -> None:
    tags = {chr(1 + n // 100) + chr(1 + n % 100): "" for n in range(LARGEST_TAGS // 2)}
    databases = SqlDatabases.of(Sensitive.of(kept.texts[URL]), MasterKeys.of({"SECRET_KEY": kept.texts[KEY]}))
    await (await databases.own()).put("db", ONE, token=secrets.token_hex(20), tags=tags)
    await databases.close()
    provider = opening()
    assert await is_read(provider)
    assert [meta.tags async for meta in provider.list()] == [tags]


@pytest.mark.parametrize("table", ["application_secrets", "encryption_keys"])
async def test_more_rows_than_can_be_there_are_not_taken(table: str, kept: Kept, opening, disguised) -> None:
    await fill(kept)
    disguised(table, 100_000)
    assert str(await answer(opening())) == "the database gave no answer"


async def test_rows_that_nobody_asked_for_are_not_taken(kept: Kept, opening, disguised) -> None:
    await fill(kept)
    disguised("application_secrets", 10)
    assert "more rows than it can have" in str(await answer(opening()))


async def test_a_list_has_an_end(kept: Kept, opening, disguised) -> None:
    await fill(kept)
    disguised("application_secrets", MOST_LISTED + 1)
    with pytest.raises(Invalid, match="a list has at most"):
        assert [meta async for meta in opening().list()]


async def test_long_answers_wait_for_room(kept: Kept, database: Database) -> None:
    room = Room()
    room.take("others", room.size)
    server = Server("127.0.0.1", database.port, database.user, Sensitive.of(database.password), database.name, "require")
    made = await connect(server, LOOPBACK, "shop", room)
    asking = asyncio.ensure_future(made.execute("SELECT repeat('x', 8000000)"))
    await asyncio.wait((asking,), timeout=0.5)
    assert not asking.done()
    room.give_back("others", room.size)
    assert len((await (await asking).fetchone())[0]) == 8_000_000
    assert room.taken
    await made.execute("SELECT 1")
    assert not room.taken
    asking = asyncio.ensure_future(made.execute("SELECT repeat('x', 8000000)"))
    while not room.taken:  # noqa: ASYNC110  # the room has no event
        await asyncio.sleep(0.01)
    await asking
    await made.close()
    assert not room.taken
