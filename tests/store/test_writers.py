"""Who may be the one writer of a PostgreSQL database, and what is said of whoever is that for too long.

A file knows no users: whoever may write to it at all may stop all others.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from keyturn.flow.audit_queue import AuditQueue
from keyturn.model.audit import AuditEntry, Outcome
from keyturn.model.errors import AuditUnavailable, Unavailable
from keyturn.model.sensitive import Sensitive
from keyturn.store import engine
from keyturn.store.audit import AuditTrail
from keyturn.store.engine import open_database
from keyturn.testing.clock import FakeClock
from postgres import Database
from store.places import Place
from store.test_audit import row, trail

pytestmark = pytest.mark.parametrize("empty_place", ["postgresql"], indirect=True)

FIRST = "SELECT pg_advisory_lock(1801812340)"
"""What whoever makes the first tables waits for."""
HELD = "LOCK TABLE fence IN SHARE ROW EXCLUSIVE MODE"
ENTRY = AuditEntry("secret.create", "ManagedSecret/shop/app", "Secret/shop/app")


@pytest.fixture
def stranger(place: Place) -> Database:
    """Somebody who may connect, and has no right on any table."""
    assert place.server
    assert place.own
    made = place.server.create()
    place.server.execute(f"GRANT CONNECT ON DATABASE {place.own.name} TO {made.user}")
    return Database(place.own.name, made.port, made.owner, made.user, made.password)


@asynccontextmanager
async def holding(url: str, *statements: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A session that said this, and has not ended its transaction."""
    async with await psycopg.AsyncConnection.connect(url, application_name="monthly\x1b[2Kreport") as connection:
        for each in statements:
            await connection.execute(each.encode())
        yield connection


async def test_whoever_has_no_right_on_a_table_holds_nobody_up(place: Place, stranger: Database) -> None:
    made = trail(place)
    async with holding(stranger.user_url, FIRST), asyncio.timeout(5):
        assert (await made.append([row("e0")])).seq == 1
        assert await place.migrate() == ("0004", "0004")


@pytest.mark.parametrize("mode", ["ROW SHARE", "ROW EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"])
async def test_an_auditor_cannot_take_a_lock_that_holds_up_a_writer(place: Place, stranger: Database, mode: str) -> None:
    assert place.server
    assert place.own
    for each in ("fence", "secret_access_log", "audit_checkpoints", "audit_segments"):
        place.server.execute(f"GRANT SELECT ON {each} TO {stranger.user}", place.own.name)
    for each in ("fence", "secret_access_log"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with holding(stranger.user_url, f"LOCK TABLE {each} IN {mode} MODE"):
                pass
    made = trail(place)
    async with holding(stranger.user_url, "LOCK TABLE fence, secret_access_log IN ACCESS SHARE MODE"), asyncio.timeout(5):
        assert (await made.append([row("e0")], await made.begin("o", "a", row("").at))).seq == 1


async def test_whoever_holds_it_with_a_right_to_it_is_named_to_the_operators_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "BUSY_S", 0.3)
    made, back = trail(place), asyncio.Event()

    async def opened() -> AuditTrail:
        return made

    queue = AuditQueue(opened, FakeClock(), "operator", "a", on_back=back.set)
    work = asyncio.create_task(queue.run())
    await queue.settle(await queue.intend(ENTRY), Outcome.SUCCESS)
    async with holding(place.url, HELD) as session:
        with pytest.raises(AuditUnavailable) as refused:
            await queue.intend(ENTRY)
        assert place.own
        named = f"pid {session.info.backend_pid}, user '{place.own.user}', application 'monthly"
        assert named in caplog.text
        assert "pg_terminate_backend" in caplog.text
        assert queue.problem.isprintable()
        assert named in queue.problem
        assert named not in str(refused.value)
        await session.rollback()
        async with asyncio.timeout(10):
            await back.wait()
    assert (await made.head()).seq == 2
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_all_who_hold_it_are_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_S", 0.3)
    update = "UPDATE fence SET settled_to = settled_to"
    async with holding(place.url, update) as one, holding(place.url, update) as other, holding(place.owner_url, update) as third:
        with pytest.raises(Unavailable) as refused:
            await trail(place).append([row("e0")])
        pids = {each.info.backend_pid for each in (one, other, third)}
    assert {int(found) for found in re.findall(r"pid (\d+)", str(refused.value))} == pids


async def test_of_a_tenants_database_nobody_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_S", 0.3)
    database = open_database(Sensitive.of(place.url), lambda: psycopg.AsyncConnection.connect(place.url))
    async with holding(place.url, HELD):
        with pytest.raises(Unavailable) as refused:
            async with database.writing():
                pass
    await database.close()
    assert str(refused.value) == "another session has been writing to the database for more than 0.3 s"


async def test_a_reader_who_is_in_the_way_of_a_change_of_tables_stops_that_and_no_writer(
    place: Place, stranger: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.server
    assert place.own
    monkeypatch.setattr(engine, "BUSY_S", 0.3)
    place.server.execute(f"GRANT SELECT ON secret_access_log TO {stranger.user}", place.own.name)
    made = trail(place)
    await made.append([row("e0")])
    async with holding(stranger.user_url, "SELECT count(*) FROM secret_access_log"):
        with pytest.raises(Unavailable, match="held by another session for too long; pg_locks says by which"):
            async with place.database(place.owner_url).writing() as connection:
                await connection.exec_driver_sql("LOCK TABLE secret_access_log IN ACCESS EXCLUSIVE MODE")
        assert (await made.append([row("e1")])).seq == 2


async def test_two_who_make_the_first_tables_do_it_one_after_the_other(empty_place: Place) -> None:
    done = await asyncio.gather(*(empty_place.migrate() for _ in range(4)))
    assert sorted(before for before, _ in done) == ["", "0004", "0004", "0004"]
    assert {after for _, after in done} == {"0004"}
