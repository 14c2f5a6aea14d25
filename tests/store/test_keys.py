"""Keys of a database at start: the first one is made once, and a wrong or lost one is found before anything is done."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from canary.birds import Canary
from keyturn.cli.trail import fact
from keyturn.model.errors import KeyturnError
from keyturn.model.keys import MasterKeys
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.store import keys
from keyturn.store.connection import AsyncConnection
from keyturn.store.keys import ACTIVE, DECRYPT_ONLY, Keyholder, KeyLost, WrongKey, made, store
from keyturn.store.replicas import Presence
from keyturn.store.rotation import Rotation, Standing, standing
from keyturn.store.values import SqlValues
from store.places import ITERATIONS, Place, token

VALUE = Sensitive.of("kt-canary-one")


def words(canary: Canary, name: str = "master") -> str:
    return canary(name) + secrets.token_hex(16)


def holder(place: Place, **environment: str) -> Keyholder:
    return Keyholder(place.database(), MasterKeys.of(environment or {"SECRET_KEY": place.master}), ITERATIONS)


async def stands(place: Place) -> Standing:
    return await standing(place.database())


async def contents(place: Place) -> Mapping[str, object]:
    """All rows of all tables."""
    tables = ("application_secrets", "application_secret_versions", "encryption_keys", "replicas")
    return {table: [tuple(row) for row in await place.execute(f"SELECT * FROM {table} ORDER BY id")] for table in tables}


async def test_the_first_key_is_made_once_however_many_begin_at_once(place: Place) -> None:
    holders = [holder(place) for _ in range(4)]
    rings = await asyncio.gather(*(each.open() for each in holders))
    found = await stands(place)
    assert [(key.id, key.state) for key in found.keys] == [(rings[0].active, ACTIVE)]
    assert {ring.active for ring in rings} == {rings[0].active}


async def test_a_row_has_what_the_key_is_derived_with_and_nothing_to_guess_it_by(place: Place) -> None:
    await holder(place).open()
    (key,) = (await stands(place)).keys
    assert (len(key.salt), key.iterations, key.kdf, key.fingerprint_key) == (16, ITERATIONS, "pbkdf2-hmac-sha256", None)
    assert place.master.encode() not in place.bytes()


async def test_the_wrong_key_is_found_at_start_and_nothing_is_changed(place: Place, canary: Canary) -> None:
    await (await place.values()).put("db", VALUE, token=token())
    before = await contents(place)
    wrong = words(canary)
    with pytest.raises(WrongKey, match=r"SECRET_KEY does not open 'k-[0-9a-f]{8}' of encryption_keys, nothing was changed") as refused:
        await holder(place, SECRET_KEY=wrong).open()
    assert wrong not in str(refused.value)
    assert await contents(place) == before
    assert isinstance((await (await place.values()).get_many([SourceRef("db")]))[SourceRef("db")], Value)


async def test_the_wrong_key_is_found_in_a_database_without_values_too(place: Place, canary: Canary) -> None:
    await holder(place).open()
    with pytest.raises(WrongKey):
        await holder(place, SECRET_KEY=words(canary)).open()


@pytest.mark.parametrize("change", ["DELETE FROM encryption_keys", "UPDATE encryption_keys SET id = 'k-other'"])
async def test_a_lost_row_is_found_at_start_and_no_new_key_is_made(place: Place, change: str) -> None:
    await (await place.values()).put("db", VALUE, token=token())
    await place.execute(change)
    before = await contents(place)
    with pytest.raises(KeyLost, match=r"encryption_keys has no row for 'k-.*restore that table from a backup"):
        await holder(place).open()
    assert await contents(place) == before


async def test_keys_that_are_lost_while_only_a_purged_name_is_left_are_found(place: Place) -> None:
    values = await place.values()
    await values.put("db", VALUE, token=token())
    await values.delete("db", purge=True)
    await place.execute("DELETE FROM encryption_keys")
    with pytest.raises(KeyLost):
        await holder(place).open()


CHANGES = {
    "the salt": "UPDATE encryption_keys SET salt = check_token",
    "the count": "UPDATE encryption_keys SET iterations = iterations + 1",
    "a count that would take for ever": "UPDATE encryption_keys SET iterations = 2000000000",
    "the derivation": "UPDATE encryption_keys SET kdf = 'none'",
    "the check token": "UPDATE encryption_keys SET check_token = salt",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_changed_row_does_not_open(place: Place, change: str) -> None:
    await holder(place).open()
    await place.execute(change)
    with pytest.raises(WrongKey, match="where that is the one, restore the table from a backup"):
        await holder(place).open()


@pytest.fixture
def at_the_look_for_keys_in_use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Awaitable[object]]], None]:
    """Lets something happen between two questions of an `open`, once."""
    real = keys.ids_in_use

    def let(happen: Callable[[], Awaitable[object]]) -> None:
        waiting = [happen]

        async def look(connection: AsyncConnection) -> frozenset[str]:
            while waiting:
                await waiting.pop()()
            return await real(connection)

        monkeypatch.setattr(keys, "ids_in_use", look)

    return let


async def test_a_rotation_in_the_midst_of_a_start_is_no_lost_key(
    place: Place, canary: Canary, at_the_look_for_keys_in_use: Callable[[Callable[[], Awaitable[object]]], None]
) -> None:
    await (await place.values()).put("db", VALUE, token=token())
    both = {"SECRET_KEY": words(canary), "SECRET_KEY_PREVIOUS": place.master}
    rotating, late = holder(place, **both), holder(place, **both)
    await rotating.open()
    at_the_look_for_keys_in_use(lambda: Rotation(rotating, lambda _: None, fact, ITERATIONS).run(0))
    await late.open()
    answers = await SqlValues(late, "default").get_many([SourceRef("db")])
    assert [answer.data for answer in answers.values() if isinstance(answer, Value)] == [VALUE]


async def test_a_first_value_in_the_midst_of_a_start_is_no_lost_key(
    place: Place, at_the_look_for_keys_in_use: Callable[[Callable[[], Awaitable[object]]], None]
) -> None:
    async def begin() -> None:
        await (await place.values()).put("db", VALUE, token=token())

    late = holder(place)
    at_the_look_for_keys_in_use(begin)
    await late.open()
    assert isinstance((await SqlValues(late, "default").get_many([SourceRef("db")]))[SourceRef("db")], Value)


async def test_two_active_keys_and_none_are_refused(place: Place) -> None:
    await holder(place).open()
    await place.execute(f"UPDATE encryption_keys SET state = '{DECRYPT_ONLY}'")
    with pytest.raises(KeyLost, match="one row that is active, and only one"):
        await holder(place).open()


async def test_a_key_that_nothing_lies_under_may_stay_shut(place: Place, canary: Canary) -> None:
    """Who has the old key alone goes on while the new one is being brought in."""
    await holder(place).open()
    row, _ = await made(MasterKeys.of({"SECRET_KEY": words(canary)}).wanted, DECRYPT_ONLY, ITERATIONS)
    async with place.database(place.owner_url).writing() as connection:
        await store(connection, row)
    late = holder(place)
    ring = await late.open()
    assert row.id not in ring.ids
    await place.execute(f"UPDATE encryption_keys SET state = CASE id WHEN '{row.id}' THEN '{ACTIVE}' ELSE '{DECRYPT_ONLY}' END")
    for begin in (late.refresh, Presence(late).enter, holder(place).open):
        with pytest.raises(WrongKey, match=row.id):
            await begin()
    assert ring.active != row.id


async def test_keys_of_a_file_bear_their_ids(place: Place, canary: Canary) -> None:
    text = f"k2026: {words(canary)}\nold: {words(canary, 'old')}"
    ring = await Keyholder(place.database(), MasterKeys.of({}, text), ITERATIONS).open()
    assert (ring.active, ring.ids) == ("k2026", {"k2026"})


async def test_the_fingerprint_key_is_made_once_and_lies_wrapped(place: Place) -> None:
    holders = [holder(place) for _ in range(3)]
    for each in holders:
        await each.open()
    made_keys = await asyncio.gather(*(each.fingerprint_key() for each in holders))
    assert {key.id for key in made_keys} == {made_keys[0].id}
    again = holder(place)
    await again.open()
    assert (await again.fingerprint_key()).secret == made_keys[0].secret
    (row,) = (await stands(place)).keys
    assert made_keys[0].secret.reveal() not in (row.fingerprint_key or b"")


async def test_a_fingerprint_key_of_another_row_does_not_open(place: Place) -> None:
    each = holder(place)
    await each.open()
    await each.fingerprint_key()
    await place.execute("UPDATE encryption_keys SET fingerprint_key = check_token")
    with pytest.raises(KeyturnError, match="not as it was written"):
        await each.fingerprint_key()


async def test_a_replica_says_what_it_can_open_until_it_leaves(place: Place) -> None:
    each = holder(place)
    ring = await each.open()
    presence = Presence(each, "one")
    await presence.enter()
    (seen,) = (await stands(place)).replicas
    assert (seen.id, seen.key_ids, seen.is_live) == (presence.id, ring.ids, True)
    await place.execute("UPDATE replicas SET seen_at = '2026-01-01 00:00:00+00:00'")
    assert [replica.is_live for replica in (await stands(place)).replicas] == [False]
    await presence.beat()
    assert [replica.is_live for replica in (await stands(place)).replicas] == [True]
    await presence.leave()
    await presence.leave()
    assert list((await stands(place)).replicas) == []


async def test_a_replica_beats_until_it_is_told_to_stop_and_outlives_an_error(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    each = holder(place)
    await each.open()
    presence = Presence(each)
    await presence.enter()
    await place.execute("DELETE FROM encryption_keys")
    stop, warned = asyncio.Event(), asyncio.Event()
    caplog.handler.addFilter(lambda _: warned.set() or True)
    beating = asyncio.create_task(presence.keep(stop, every_s=0.01))
    await asyncio.wait_for(warned.wait(), 30)
    stop.set()
    await asyncio.wait_for(beating, 30)
    assert "could not look at the keys of the database" in caplog.text


async def test_a_replica_that_was_not_seen_for_a_day_is_forgotten(place: Place) -> None:
    each = holder(place)
    await each.open()
    gone, here = Presence(each, "gone"), Presence(each, "here")
    await gone.enter()
    await place.execute("UPDATE replicas SET seen_at = '2026-01-01 00:00:00+00:00'")
    await here.enter()
    assert [replica.id for replica in (await stands(place)).replicas] == [here.id]


@pytest.mark.parametrize(("ahead", "is_live"), [(timedelta(seconds=30), True), (timedelta(hours=1), False)])
async def test_a_replica_of_the_future_is_not_waited_for(place: Place, ahead: timedelta, is_live: bool) -> None:  # noqa: FBT001  # a column of the table
    each = holder(place)
    await each.open()
    await Presence(each).enter()
    seen_at = (datetime.now(UTC) + ahead).isoformat(timespec="microseconds").replace(":", "\\:")
    await place.execute(f"UPDATE replicas SET seen_at = '{seen_at}'")
    assert [replica.is_live for replica in (await stands(place)).replicas] == [is_live]


async def test_a_replica_of_another_day_to_come_is_forgotten(place: Place) -> None:
    each = holder(place)
    await each.open()
    early, here = Presence(each, "early"), Presence(each, "here")
    await early.enter()
    await place.execute("UPDATE replicas SET seen_at = '2999-01-01 00\\:00\\:00+00\\:00'")
    await here.enter()
    assert [replica.id for replica in (await stands(place)).replicas] == [here.id]


async def test_what_somebody_else_wrote_of_a_replica_counts_as_no_key(place: Place) -> None:
    each = holder(place)
    await each.open()
    await Presence(each).enter()
    for told in ("7", '{"a": 1}', '[1, {"a": 1}]'):
        await place.execute(f"UPDATE replicas SET key_ids = '{told}'".replace(": 1", "\\: 1"))
        assert [replica.key_ids for replica in (await stands(place)).replicas] == [frozenset()]
