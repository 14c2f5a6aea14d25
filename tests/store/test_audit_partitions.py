"""On PostgreSQL the audit trail lies in partitions: rows and rights survive the way there, and nobody gets behind it through one."""

from collections.abc import AsyncIterator, Sequence

import pytest

from keyturn.decide.hashchain import Walk
from keyturn.model.errors import ProviderError
from keyturn.store.audit_partitions import Partition, cut, partitions
from keyturn.store.schema import EMPTY, migrate
from postgres import Postgres
from store.chains import verified
from store.places import Place, postgres_place
from store.test_audit import KEY, filled, nth, row, trail


@pytest.fixture
async def server_place(postgres: Postgres) -> AsyncIterator[Place]:
    async with postgres_place(postgres) as place:
        yield place


async def cut_at(place: Place, least: int = 1) -> Sequence[Partition]:
    async with place.database(place.owner_url).writing() as connection:
        await cut(connection, least)
        return await partitions(connection)


async def test_rows_and_rights_survive_the_way_into_partitions_and_back(server_place: Place) -> None:
    place = server_place
    await place.migrate("0003")
    made = await filled(place, 20)
    await place.migrate("0004")
    assert await verified(made, Walk(lambda _: KEY)) == ""
    await made.append([row("after")])  # as the run-time user, whom nobody granted anything anew
    assert (await made.head()).seq == 21
    user = Place(place.url, place.url)
    with pytest.raises(ProviderError, match="does not let this user do it"):
        await user.execute("INSERT INTO secret_access_log_1 SELECT * FROM secret_access_log")
    await user.close()
    await migrate(place.database(place.owner_url), EMPTY)
    assert await place.execute("SELECT to_regclass('secret_access_log'), to_regclass('secret_access_log_1')") == [(None, None)]


async def test_a_trail_in_many_partitions_is_one(server_place: Place) -> None:
    place = server_place
    await place.migrate()
    made = await filled(place, 20)
    for number in range(3):
        found = await cut_at(place)
        await made.append([row(f"n{number}"), row(f"m{number}", settles=f"n{number}", outcome="success")])
    assert [(each.begin, each.end) for each in found] == [(None, 21), (21, 23), (23, 25), (25, None)]
    assert await verified(made, Walk(lambda _: KEY)) == ""
    await made.append([nth(3), row("n0")])  # which are there already, each in another partition
    assert (await made.head()).seq == 26
    assert await place.migrate() == ("0004", "0004")
    assert len(await made.unsettled("e")) == 20


async def test_a_partition_is_closed_once_it_is_worth_one(server_place: Place) -> None:
    place = server_place
    await place.migrate()
    assert len(await cut_at(place)) == 1, "an empty trail has nothing to close"
    await filled(place, 20)
    assert len(await cut_at(place, 21)) == 1
    assert len(await cut_at(place, 20)) == 2
    assert len(await cut_at(place, 1)) == 2, "the newest is empty"


FORBIDDEN = [
    "INSERT INTO {} SELECT * FROM {}",
    "UPDATE {} SET actor = ''",
    "DELETE FROM {}",
    "TRUNCATE {}",
    "DROP TABLE {}",
    "ALTER TABLE {} DISABLE TRIGGER ALL",
    "DROP TRIGGER secret_access_log_change ON {}",
    "ALTER TABLE secret_access_log DETACH PARTITION {}",
    "ALTER TABLE {} RENAME TO other",
    "CREATE RULE none AS ON INSERT TO {} DO INSTEAD NOTHING",
]
ALWAYS_REFUSED = FORBIDDEN[:4]


async def test_no_partition_is_a_way_around_the_trail(server_place: Place) -> None:
    place = server_place
    await place.migrate()
    made = await filled(place, 20)
    found = await cut_at(place)
    await made.append([row("in the newest")])
    user = Place(place.url, place.url)
    for each in found:
        for statement in FORBIDDEN:
            with pytest.raises(ProviderError, match="does not let this user do it"):
                await user.execute(statement.format(each.name, each.name))
        for statement in ALWAYS_REFUSED:
            # A trigger's refusal, which holds for the owner too until it is lifted.
            with pytest.raises(ProviderError, match="P0001"):
                await place.execute(statement.format(each.name, each.name))
        assert await user.execute(f"SELECT count(*) FROM {each.name}"), "a backup reads each"
    await user.close()
    assert await verified(made, Walk(lambda _: KEY)) == ""


async def test_a_dump_of_it_is_whole_again_in_another_database(server_place: Place) -> None:
    place = server_place
    assert place.server is not None
    assert place.own is not None
    await place.migrate()
    made = await filled(place, 20)
    await cut_at(place)
    await made.append([row("after")])
    other = place.server.create()
    try:
        place.server.restore(place.server.dump(place.own), other)
        place.server.execute(f"GRANT SELECT ON secret_access_log, audit_segments TO {other.user}", other.name)
        restored = Place(other.user_url, other.owner_url)
        assert (await trail(restored).head()) == await made.head()
        assert await verified(trail(restored), Walk(lambda _: KEY)) == ""
        await restored.close()
    finally:
        place.server.execute(f"DROP OWNED BY {other.user}", other.name)
        place.server.drop(other)
