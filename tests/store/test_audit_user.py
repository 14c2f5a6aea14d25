"""Who writes the audit trail, and what it says where its disk is full."""

import re
from typing import Any

import pytest
from sqlalchemy import event

from keyturn.model.errors import Unavailable
from keyturn.store.audit import AuditTrail
from keyturn.store.failures import DatabaseRefused
from postgres import Postgres
from store.chains import verified
from store.places import Place
from store.test_audit import AT, KEY, filled, row, walk


def trail_as(place: Place, url: str) -> AuditTrail:
    return AuditTrail(place.database(url), lambda: ("k1", KEY))


async def test_the_user_of_run_time_may_write_it(place: Place) -> None:
    await trail_as(place, place.url).check_user()


async def test_its_owner_may_not_nor_whoever_can_become_that(place: Place) -> None:
    if place.server is None or place.own is None:
        await trail_as(place, place.owner_url).check_user()  # SQLite's file has no users
        return
    for told in (place.owner_url, place.url):
        with pytest.raises(DatabaseRefused, match=re.escape("DATABASE_OWNER_URL with the owner to keyturn db upgrade")):
            await trail_as(place, told).check_user()
        place.server.execute(f"GRANT {place.own.owner} TO {place.own.user}")


@pytest.mark.parametrize("empty_place", ["postgresql"], indirect=True)
async def test_a_superuser_may_not(place: Place) -> None:
    assert place.server
    assert place.own
    place.server.execute(f"ALTER ROLE {place.own.user} SUPERUSER")
    with pytest.raises(DatabaseRefused, match="or as a superuser"):
        await trail_as(place, place.url).check_user()


@pytest.mark.parametrize("empty_place", ["sqlite"], indirect=True)
async def test_a_full_disk_is_told_with_the_remedy_and_what_is_there_stays_whole(place: Place) -> None:
    await filled(place)
    database = place.database()
    pages = 1_000_000

    @event.listens_for(database.engine, "begin")
    @event.listens_for(database.engine, "checkout")
    def limit(connection: Any, *_: object) -> None:
        raw = getattr(connection, "connection", connection)
        raw.cursor().execute(f"PRAGMA max_page_count={pages}")

    trail = AuditTrail(database, lambda: ("k1", KEY))
    term = await trail.begin("keyturn-system/keyturn", "a", AT)
    pages = 1  # no more than there are
    with pytest.raises(Unavailable, match="disk is full; make room on it"):
        await trail.append([row(f"more-{n}", subject="x" * 1000) for n in range(500)], term)
    assert await trail.known(["more-0"]) == frozenset()
    pages = 1_000_000
    await trail.append([row(f"more-{n}") for n in range(500)], term)
    assert await verified(trail, walk()) == ""


def test_a_full_disk_of_a_server_is_told_alike(postgres: Postgres) -> None:
    import psycopg

    from keyturn.store.failures import failure_of

    with pytest.raises(psycopg.errors.DiskFull) as full:
        postgres.execute("DO $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full'; END $$")
    assert "disk is full; make room on it" in str(failure_of(full.value, is_own=True))
