"""Migrations lead to the tables that the code works with, and back, on both databases."""

from typing import Any
from urllib.parse import urlencode

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from click.testing import CliRunner
from sqlalchemy import Connection, inspect

from keyturn.cli import cli
from keyturn.model.errors import AccessDenied, Unavailable
from keyturn.model.material import SourceRef
from keyturn.model.sensitive import Sensitive
from keyturn.store.engine import Database, DatabaseRefused
from keyturn.store.schema import EMPTY, NEWEST, migrate, newest, ready
from keyturn.store.tables import metadata
from store.places import Place, token

VALUE = Sensitive.of("kt-canary-one")


def differences(connection: Connection) -> list[Any]:
    told = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=told), metadata))


async def tables(database: Database) -> set[str]:
    async with database.reading() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_migrations_lead_to_the_tables_of_the_code_and_back(empty_place: Place) -> None:
    owner = empty_place.database(empty_place.owner_url)
    for _ in range(2):
        assert await migrate(owner) == ("", newest())
        async with owner.reading() as connection:
            assert await connection.run_sync(differences) == []
        assert await migrate(owner) == (newest(), newest())
        assert await migrate(owner, EMPTY) == (newest(), "")
        assert await tables(owner) == {"alembic_version"}


async def test_a_file_is_made_by_whoever_opens_it_and_a_server_s_tables_are_not(empty_place: Place) -> None:
    database = empty_place.database()
    if database.is_sqlite:
        await ready(database)
        assert "application_secrets" in await tables(database)
        return
    with pytest.raises(DatabaseRefused, match="run: keyturn db upgrade"):
        await ready(database)
    assert await tables(database) == set()
    await empty_place.migrate()
    await ready(database)


async def test_a_newer_schema_is_left_alone(place: Place) -> None:
    await place.execute("UPDATE alembic_version SET version_num = '9999'")
    for step in (ready(place.database()), migrate(place.database(place.owner_url)), migrate(place.database(place.owner_url), EMPTY)):
        with pytest.raises(DatabaseRefused, match=r"9999.*newer Keyturn"):
            await step
    assert "application_secrets" in await tables(place.database())


async def test_a_migration_that_fails_leaves_nothing_behind(empty_place: Place) -> None:
    await empty_place.execute("CREATE TABLE encryption_keys (id TEXT)")  # in the way of the third table
    with pytest.raises(Unavailable):
        await migrate(empty_place.database(empty_place.owner_url), NEWEST)
    assert await tables(empty_place.database(empty_place.owner_url)) == {"encryption_keys"}


async def test_the_run_time_user_can_do_its_work_and_no_more(place: Place) -> None:
    values = await place.values()
    await values.put("db", VALUE, token=token())
    await values.delete("db", purge=True)
    if values._database.is_sqlite:
        return
    assert place.server is not None
    assert place.own is not None
    for statement in (
        "DELETE FROM application_secrets",
        "DROP TABLE application_secrets",
        "CREATE TABLE own (id int)",
        "UPDATE alembic_version SET version_num = '0'",
        "TRUNCATE application_secrets",
    ):
        with pytest.raises(AccessDenied):
            async with place.database().writing() as connection:
                await connection.exec_driver_sql(statement)


async def test_tables_that_are_not_there_are_told_of_with_the_remedy(empty_place: Place) -> None:
    with pytest.raises(Unavailable, match="keyturn db upgrade"):
        await empty_place.values()


def upgrade(**environment: str | None) -> tuple[int, str]:
    ran = CliRunner().invoke(cli, ["db", "upgrade"], env={"DATABASE_URL": None, "DATABASE_OWNER_URL": None} | environment)
    return ran.exit_code, ran.output or str(ran.exception)


async def test_the_command_makes_the_tables_and_grants_them(empty_place: Place) -> None:
    both = {"DATABASE_OWNER_URL": empty_place.owner_url, "DATABASE_URL": empty_place.url}
    assert await _in_thread(both) == (0, "the schema is 0001, and was not there" + _granted(empty_place) + "\n")
    assert await _in_thread(both) == (0, "the schema is 0001 already" + _granted(empty_place) + "\n")
    values = await empty_place.values()
    await values.put("db", VALUE, token=token())
    assert SourceRef("db") in await values.get_many([SourceRef("db")])


async def test_a_user_of_any_name_is_granted_wherever_the_url_names_it(empty_place: Place) -> None:
    if empty_place.server is None or empty_place.own is None:
        return  # a file has no users
    role = f'{empty_place.own.user}\'s %(odd)s "role":one'
    quoted = '"' + role.replace('"', '""') + '"'
    empty_place.server.execute(f"CREATE ROLE {quoted}")
    try:
        urls = {"DATABASE_OWNER_URL": empty_place.owner_url, "DATABASE_URL": f"postgresql:///any?{urlencode({'user': role})}"}
        assert await _in_thread(urls) == (0, f"the schema is 0001, and was not there; {role} has what the operator needs\n")
        asked = "SELECT has_table_privilege(:role, 'replicas', 'DELETE'), has_schema_privilege(:role, 'public', 'USAGE')"
        assert [tuple(row) for row in await empty_place.execute(asked, role=role)] == [(True, True)]
        assert (await _in_thread(urls | {"DATABASE_URL": "postgresql:///any"}))[0] == 1
    finally:
        for statement in (f"DROP OWNED BY {quoted}", f"DROP ROLE {quoted}"):
            empty_place.server.execute(statement, empty_place.own.name)


async def test_one_url_alone_is_the_owners(empty_place: Place) -> None:
    assert await _in_thread({"DATABASE_URL": empty_place.owner_url}) == (0, "the schema is 0001, and was not there\n")
    if empty_place.server is not None:
        code, told = await _in_thread({"DATABASE_URL": empty_place.url})
        assert (code, "AccessDenied" in told or "does not let this user" in told) == (1, True)


def test_without_a_url_nothing_is_done() -> None:
    code, told = upgrade()
    assert code == 1
    assert "DATABASE_OWNER_URL or DATABASE_URL" in told


async def _in_thread(environment: dict[str, str]) -> tuple[int, str]:
    import asyncio

    return await asyncio.to_thread(upgrade, **environment)


def _granted(place: Place) -> str:
    return f"; {place.own.user} has what the operator needs" if place.own else ""
