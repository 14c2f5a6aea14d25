"""Migrations lead to the tables that the code works with, and back, on both databases."""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
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
from keyturn.store.engine import Database
from keyturn.store.failures import DatabaseRefused
from keyturn.store.readiness import REVISION, ready
from keyturn.store.schema import EMPTY, NEWEST, migrate, newest
from keyturn.store.tables import metadata
from store.places import Place, token

PARTITION = re.compile("secret_access_log_[0-9]+")
VALUE = Sensitive.of("kt-canary-one")


def differences(connection: Connection) -> list[Any]:
    # A partition is a part of its table, and no other one.
    told = {"compare_type": True, "compare_server_default": True, "include_name": lambda name, *_: not PARTITION.fullmatch(name or "")}
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


def test_the_schema_of_this_version_is_the_newest_step() -> None:
    assert newest() == REVISION


async def makers_loaded(url: str) -> str:
    """By an operator that opens this: what makes tables, which is 13 MiB of memory for as long as it runs."""
    program = (
        "import asyncio, os, sys; from keyturn.model.sensitive import Sensitive; from keyturn.store.databases import open_database;"
        " from keyturn.store.readiness import ready;"
        " asyncio.run(ready(open_database(Sensitive.of(os.environ['DATABASE_URL'])), lasts=True));"
        " print(sorted({'alembic', 'mako'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "DATABASE_URL": url}
    told = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-W", "ignore", "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return told.stdout.strip()


async def test_an_operator_whose_tables_are_right_does_not_load_what_makes_tables(place: Place) -> None:
    assert await makers_loaded(place.url) == "[]"


@pytest.mark.parametrize("name", ["keyturn.db", "a file, 100%25 of it, with ünï+signs.db"])
def test_an_operator_has_its_first_tables_made_by_a_process_that_ends(tmp_path: Path, name: str) -> None:
    assert asyncio.run(makers_loaded(f"sqlite:///{tmp_path}/{name}")) == "[]"
    [made] = tmp_path.glob("*.db")
    with closing(sqlite3.connect(made)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISION,)]


async def test_where_no_process_can_be_started_the_tables_are_made_all_the_same(
    empty_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (database := empty_place.database()).is_sqlite:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        await ready(database, lasts=True)
        assert "application_secrets" in await tables(database)


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
    schema = f"the schema of {_name(empty_place)} is {newest()}"
    assert await _in_thread(both) == (0, f"{schema}, and was not there{_granted(empty_place)}\n")
    assert await _in_thread(both) == (0, f"{schema} already{_granted(empty_place)}\n")
    values = await empty_place.values()
    await values.put("db", VALUE, token=token())
    assert SourceRef("db") in await values.get_many([SourceRef("db")])


async def test_a_user_of_any_name_is_granted_wherever_the_url_names_it(empty_place: Place) -> None:
    if empty_place.server is None or empty_place.own is None:
        return  # a file has no users
    name = empty_place.own.name
    role = f'{empty_place.own.user}\'s %(odd)s "role":one'
    quoted = '"' + role.replace('"', '""') + '"'
    empty_place.server.execute(f"CREATE ROLE {quoted}")
    try:
        urls = {"DATABASE_OWNER_URL": empty_place.owner_url, "DATABASE_URL": f"postgresql:///{name}?{urlencode({'user': role})}"}
        assert await _in_thread(urls) == (0, f"the schema of {name} is {newest()}, and was not there; {role} has what the operator needs\n")
        asked = "SELECT has_table_privilege(:role, 'replicas', 'DELETE'), has_schema_privilege(:role, 'public', 'USAGE')"
        assert [tuple(row) for row in await empty_place.execute(asked, role=role)] == [(True, True)]
        assert "names no user" in (await _in_thread(urls | {"DATABASE_URL": f"postgresql:///{name}"}))[1]
    finally:
        for statement in (f"DROP OWNED BY {quoted}", f"DROP ROLE {quoted}"):
            empty_place.server.execute(statement, empty_place.own.name)


async def test_one_url_alone_is_the_owners(empty_place: Place) -> None:
    assert await _in_thread({"DATABASE_URL": empty_place.owner_url}) == (
        0,
        f"the schema of {_name(empty_place)} is {newest()}, and was not there\n",
    )
    if empty_place.server is not None:
        code, told = await _in_thread({"DATABASE_URL": empty_place.url})
        assert (code, "AccessDenied" in told or "does not let this user" in told) == (1, True)


async def test_who_may_not_change_the_tables_is_told_whose_log_in_it_takes(empty_place: Place) -> None:
    if empty_place.own is None:
        return  # a file has no users
    told = "the database does not let this user change its tables; "
    assert await _in_thread({"DATABASE_URL": empty_place.url}) == (1, told + "set DATABASE_OWNER_URL to the owner's")
    both = {"DATABASE_URL": empty_place.url, "DATABASE_OWNER_URL": empty_place.url}
    assert await _in_thread(both) == (1, told + "log in with DATABASE_OWNER_URL as their owner")


async def test_an_owner_of_another_database_is_refused_before_anything_is_made(empty_place: Place) -> None:
    own, url = empty_place.own, empty_place.owner_url
    others = {"scheme": "sqlite:////nowhere/kt.db"} if own else {"name of the database": url + ".other", "scheme": "postgresql://u@h/d"}
    if own:
        others |= {
            "host": url.replace("127.0.0.1", "localhost"),
            "port": url.replace(f":{own.port}/", ":1/"),
            "name of the database": url.replace(f"/{own.name}?", "/postgres?"),
        }
    for part, other in others.items():
        code, told = await _in_thread({"DATABASE_OWNER_URL": url, "DATABASE_URL": other})
        assert (code, told.partition(";")[0]) == (
            1,
            f"DATABASE_OWNER_URL and DATABASE_URL mean different databases, their {part} differs",
        )
    assert await tables(empty_place.database(url)) == set()


async def test_a_url_that_is_refused_is_told_by_its_variable(tmp_path: Path) -> None:
    for variable, other in (("DATABASE_URL", "DATABASE_OWNER_URL"), ("DATABASE_OWNER_URL", "DATABASE_URL")):
        for wrong in ("kt-canary", "mysql://u:kt-canary@h/d"):
            code, told = await _in_thread({other: f"sqlite:///{tmp_path}/kt.db", variable: wrong})
            assert (code, told.partition(":")[0]) == (1, variable)
            assert "kt-canary" not in told


async def test_the_run_time_user_can_make_a_backup(place: Place) -> None:
    if place.own is None:
        return  # a file has no users
    rows = await place.execute("SELECT has_sequence_privilege(:user, oid, 'SELECT') FROM pg_class WHERE relkind = 'S'", user=place.own.user)
    assert {tuple(row) for row in rows} == {(True,)}


def test_without_a_url_nothing_is_done() -> None:
    code, told = upgrade()
    assert code == 1
    assert "DATABASE_OWNER_URL or DATABASE_URL" in told


async def _in_thread(environment: dict[str, str]) -> tuple[int, str]:
    import asyncio

    return await asyncio.to_thread(upgrade, **environment)


def _name(place: Place) -> str:
    return place.own.name if place.own else str(place.file)


def _granted(place: Place) -> str:
    return f"; {place.own.user} has what the operator needs" if place.own else ""
