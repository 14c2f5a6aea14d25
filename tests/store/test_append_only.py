"""Records that are only added to: nobody changes or takes away what is there, the run-time user least of all."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from keyturn.model.errors import ProviderError
from postgres import Postgres
from store.places import Place, postgres_place


@dataclass(frozen=True, slots=True)
class Record:
    """A table, and SQL of two rows: the one that is there, and another of the same key."""

    table: str
    there: str
    instead: str
    column: str


RECORDS = [
    Record("audit_checkpoints", "('now', 7, 'k1', 'signed')", "('now', 7, 'k1', 'forged')", "note"),
    Record("audit_segments", "(1, 9, x, 9, x, 'one', 'signed', 'now')", "(1, 9, x, 9, x, 'one', 'forged', 'now')", "note"),
    Record(
        "secret_rotation_log",
        "(5, 'a1', '2026-11-30T12:00:00Z', 1, 'daily', 'own', 'db', 'set', 'failure', 'Denied', '{}')",
        "(5, 'a1', '2026-11-30T12:00:00Z', 1, 'daily', 'own', 'db', 'set', 'success', '', '{}')",
        "outcome",
    ),
]


@pytest.fixture(params=RECORDS, ids=lambda record: record.table)
async def record(place: Place, request: pytest.FixtureRequest) -> Record:
    made: Record = request.param
    await place.execute(f"INSERT INTO {made.table} VALUES {_sql(place, made.there)}")
    return made


@pytest.fixture
async def user(place: Place) -> AsyncIterator[Place]:
    """The same database, as its run-time user."""
    made = Place(place.url, place.url)
    yield made
    await made.close()


def _sql(place: Place, row: str) -> str:
    return row.replace(" x,", " '\\x00'::bytea," if place.server else " x'00',")


async def test_nobody_changes_what_is_there(place: Place, record: Record, user: Place) -> None:
    before = await place.execute(f"SELECT * FROM {record.table}")
    instead = _sql(place, record.instead)
    for statement in (
        f"UPDATE {record.table} SET {record.column} = 'forged'",
        f"DELETE FROM {record.table}",
        f"INSERT INTO {record.table} VALUES {instead}",
        f"INSERT INTO {record.table} VALUES {instead} ON CONFLICT DO UPDATE SET {record.column} = 'forged'"
        if place.server is None
        else f"INSERT INTO {record.table} VALUES {instead} ON CONFLICT ON CONSTRAINT pk_{record.table}"
        f" DO UPDATE SET {record.column} = 'forged'",
        *(
            [f"INSERT OR REPLACE INTO {record.table} VALUES {instead}", f"REPLACE INTO {record.table} VALUES {instead}"]
            if place.server is None
            else [f"TRUNCATE {record.table}"]
        ),
    ):
        for who in (user, place):
            with pytest.raises(ProviderError):
                await who.execute(statement)
    assert await place.execute(f"SELECT * FROM {record.table}") == before


async def test_the_run_time_user_of_a_server_may_not_lift_what_holds_it(postgres: Postgres) -> None:
    async with postgres_place(postgres) as place:
        await place.migrate()
        user = Place(place.url, place.url)
        for table in ("secret_access_log", *(record.table for record in RECORDS)):
            for statement in (
                f"UPDATE {table} SET at = at",
                f"DELETE FROM {table}",
                f"TRUNCATE {table}",
                f"ALTER TABLE {table} DISABLE TRIGGER ALL",
                f"DROP TRIGGER {table}_change ON {table}",
                f"DROP TABLE {table}",
                f"ALTER TABLE {table} RENAME TO other",
                f"CREATE RULE no_change AS ON INSERT TO {table} DO INSTEAD NOTHING",
                "DROP FUNCTION secret_access_log_only_grows CASCADE",
                "CREATE OR REPLACE FUNCTION secret_access_log_only_grows() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
                "SET session_replication_role = replica",
            ):
                with pytest.raises(ProviderError, match="does not let this user do it"):
                    await user.execute(statement)
        await user.close()
