"""What somebody else changes in the database is found, told of in clear words, and never made ours."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from keyturn.model.errors import Invalid, ProviderError
from keyturn.model.material import PENDING, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.store.values import SqlValues
from store.places import Place, token

ONE, TWO = Sensitive.of("kt-canary-one"), Sensitive.of("kt-canary-two")
SECRETS, VERSIONS = "application_secrets", "application_secret_versions"
OF_DB = f"secret_id = (SELECT id FROM {SECRETS} WHERE name = 'db')"


@pytest.fixture
async def values(place: Place) -> SqlValues:
    """Two secrets of two versions each, and one that waits."""
    values = await place.values()
    for key in ("db", "api"):
        await values.put(key, ONE, token=token(), tags={"team": "shop"})
        await values.put(key, TWO, token=token())
        await values.put(key, TWO, token=token(), stage=PENDING)
    return values


async def answer(values: SqlValues, key: str = "db", version: str = "") -> Value | ProviderError:
    ref = SourceRef(key, version)
    return (await values.get_many([ref]))[ref]


async def rows(place: Place) -> Sequence[Any]:
    return [list(await place.execute(f"SELECT * FROM {table} ORDER BY id")) for table in (SECRETS, VERSIONS)]


async def assert_found(values: SqlValues, place: Place, version: str = "") -> None:
    """The secret is not read, and not written over; its neighbour is well."""
    found = await answer(values, version=version)
    assert isinstance(found, Invalid)
    assert "restore" in str(found)
    assert "kt-canary" not in str(found)
    before = await rows(place)
    for write in (values.put("db", ONE, token=token()), values.promote("db", "1")):
        with pytest.raises(Invalid, match="restore"):
            await write
    assert await rows(place) == before
    assert isinstance(await answer(values, "api"), Value)


@pytest.mark.parametrize(
    "change",
    [
        "current_version = 1",
        "last_version = 1",
        "secret_type = 'certificate'",
        "expires_at = '2040-01-01T00:00:00.000000+00:00'",
        "created_at = '2040-01-01T00:00:00.000000+00:00'",
        "updated_at = '2040-01-01T00:00:00.000000+00:00'",
        "purged_at = '2020-01-01T00:00:00.000000+00:00'",
        "tags = '{}'",
        'tags = \'{"team": "bank"}\'',
        "tags = 'null'",
        "change_seq = 999",
        f"row_mac = (SELECT row_mac FROM {SECRETS} WHERE name = 'api')",
    ],
)
async def test_a_clear_column_of_a_secret_that_was_changed_is_found(values: SqlValues, place: Place, change: str) -> None:
    await place.execute(f"UPDATE {SECRETS} SET {change} WHERE name = 'db'")
    await assert_found(values, place)


async def test_a_deletion_that_was_not_ours_is_found(values: SqlValues, place: Place) -> None:
    await place.execute(f"UPDATE {SECRETS} SET deleted_at = '2020-01-01T00:00:00.000000+00:00' WHERE name = 'db'")
    await assert_found(values, place)
    for write in (values.delete("db"), values.delete("db", purge=True), values.undelete("db"), values.versions("db")):
        with pytest.raises(Invalid, match="restore"):
            await write


@pytest.mark.parametrize(
    "change",
    [
        "stage = ''",
        "stage = 'pending'",
        "enabled = false",
        "created_at = '2040-01-01T00:00:00.000000+00:00'",
        "change_seq = 999",
        "put_token = 'another'",
        f"put_mac = (SELECT put_mac FROM {VERSIONS} WHERE version = 1 AND {OF_DB})",
        f"row_mac = (SELECT row_mac FROM {VERSIONS} WHERE version = 1 AND {OF_DB})",
    ],
)
async def test_a_clear_column_of_a_version_that_was_changed_is_found(values: SqlValues, place: Place, change: str) -> None:
    await place.execute(f"UPDATE {VERSIONS} SET {change} WHERE version = 2 AND {OF_DB}")
    await assert_found(values, place)


async def test_a_token_of_another_version_does_not_decrypt(values: SqlValues, place: Place) -> None:
    await place.execute(
        f"UPDATE {VERSIONS} SET token = (SELECT token FROM {VERSIONS} WHERE version = 1 AND {OF_DB}) WHERE version = 2 AND {OF_DB}"
    )
    assert isinstance(await answer(values), Invalid)
    assert isinstance(await answer(values, version="1"), Value)


COPIED = "token", "key_id", "put_mac", "row_mac", "put_token", "enabled", "stage", "created_at", "change_seq"


async def test_a_row_that_was_copied_onto_another_does_not_decrypt(values: SqlValues, place: Place) -> None:
    from_api = f"FROM {VERSIONS} WHERE version = 2 AND secret_id = (SELECT id FROM {SECRETS} WHERE name = 'api')"
    copied = ", ".join(f"{column} = (SELECT {column} {from_api})" for column in COPIED)
    await place.execute(f"UPDATE {VERSIONS} SET {copied} WHERE version = 2 AND {OF_DB}")
    await assert_found(values, place)


async def test_versions_that_changed_places_are_found(values: SqlValues, place: Place) -> None:
    for number, other in ((2, 20), (1, 2), (20, 1)):
        await place.execute(f"UPDATE {VERSIONS} SET version = {other} WHERE version = {number} AND {OF_DB}")
    await assert_found(values, place)
    assert isinstance(await answer(values, version="1"), Invalid)


async def test_a_secret_that_was_given_another_name_is_found(values: SqlValues, place: Place) -> None:
    await place.execute(f"DELETE FROM {VERSIONS} WHERE {OF_DB}")
    await place.execute(f"DELETE FROM {SECRETS} WHERE name = 'db'")
    await values.put("other", ONE, token=token())
    await place.execute(f"UPDATE {SECRETS} SET name = 'db' WHERE name = 'other'")
    await assert_found(values, place)


async def test_a_secret_of_another_store_is_found(place: Place, values: SqlValues) -> None:
    theirs = await place.values("theirs")
    await theirs.put("new", ONE, token=token())
    await place.execute(f"UPDATE {SECRETS} SET store = 'default' WHERE name = 'new'")
    assert isinstance(await answer(values, "new"), Invalid)


async def test_a_current_version_that_was_taken_out_is_found(values: SqlValues, place: Place) -> None:
    await place.execute(f"DELETE FROM {VERSIONS} WHERE version = 2 AND {OF_DB}")
    found = await answer(values)
    assert isinstance(found, Invalid)
    assert "taken out of the database" in str(found)


async def test_an_unknown_key_is_told_of_by_its_id(values: SqlValues, place: Place) -> None:
    await place.execute(f"UPDATE {VERSIONS} SET key_id = 'k-unknown' WHERE version = 2 AND {OF_DB}")
    found = await answer(values)
    assert isinstance(found, ProviderError)
    assert "'k-unknown'" in str(found)


async def test_a_file_may_hold_anything_in_any_column(values: SqlValues, place: Place) -> None:
    if not values._database.is_sqlite:
        return
    for table, column in [(SECRETS, c) for c in ("tags", "expires_at", "updated_at", "row_mac", "current_version", "last_version")] + [
        (VERSIONS, c) for c in ("token", "row_mac", "created_at", "put_mac", "stage")
    ]:
        where = "name = 'db'" if table == SECRETS else f"version = 2 AND {OF_DB}"
        [(kept,)] = await place.execute(f"SELECT {column} FROM {table} WHERE {where}")
        for strange in ("'{'", "x'ff00'", "-1.5", json.dumps("nonsense").replace('"', "'")):
            await place.execute(f"UPDATE {table} SET {column} = {strange} WHERE {where}")
            assert isinstance(await answer(values), Invalid), (table, column, strange)
            assert isinstance(await answer(values, "api"), Value)
            assert len([meta async for meta in values.list()]) >= 1
        await place.execute(f"UPDATE {table} SET {column} = :kept WHERE {where}", kept=kept)
        assert isinstance(await answer(values), Value)
