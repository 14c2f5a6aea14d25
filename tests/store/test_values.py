"""Secrets in a database, as whoever reads and writes them sees them."""

import pytest

from keyturn.model.errors import Conflict, Disabled, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.ports import Provider, Surveyor, Writer
from keyturn.store.reading import LARGEST_VALUE
from keyturn.store.values import LONGEST_NAME, SqlValues
from store.places import Place, counting, token

ONE, TWO, THREE = Sensitive.of("kt-canary-one"), Sensitive.of("kt-canary-two"), Sensitive.of("kt-canary-three")


@pytest.fixture
async def values(place: Place) -> SqlValues:
    return await place.values()


async def read(values: SqlValues, key: str = "db", version: str = "") -> Value | ProviderError:
    ref = SourceRef(key, version)
    return (await values.get_many([ref]))[ref]


async def data(values: SqlValues, key: str = "db", version: str = "") -> Sensitive:
    answer = await read(values, key, version)
    assert isinstance(answer, Value), answer
    return answer.data


def test_it_keeps_the_contract_of_all_three_ports() -> None:
    for port in (Provider, Writer, Surveyor):
        assert {name for name in vars(port) if not name.startswith("_")} <= set(dir(SqlValues))


async def test_what_was_put_is_read(values: SqlValues) -> None:
    assert await values.put("db", ONE, token=token()) == "1"
    answer = await read(values)
    assert isinstance(answer, Value)
    assert (answer.data, answer.version) == (ONE, "1")
    assert await data(values, version="1") == ONE
    assert await data(values, version=CURRENT) == ONE


@pytest.mark.parametrize("value", [b"", b"\x00\xff\xfekt-canary", b"kt-canary" * 100_000], ids=["empty", "binary", "large"])
async def test_any_bytes_come_back_as_they_were(values: SqlValues, value: bytes) -> None:
    await values.put("db", Sensitive(value), token=token())
    assert await data(values) == Sensitive(value)


@pytest.mark.parametrize("key", ["a/b.c_d-e", "UPPER", "ü/日本", "with space", "%", "'; --", "x" * LONGEST_NAME])
async def test_names_are_taken_as_they_are(values: SqlValues, key: str) -> None:
    await values.put(key, ONE, token=token())
    assert await data(values, key) == ONE
    assert isinstance(await read(values, key.swapcase() if key != key.swapcase() else "other"), NotFound)
    assert [meta.key async for meta in values.list(key[:1])] == [key]


@pytest.mark.parametrize("key", ["", "a\0b", "\ud800", "x" * (LONGEST_NAME + 1)])
async def test_a_name_that_no_database_holds_is_refused(values: SqlValues, key: str) -> None:
    assert isinstance(await read(values, key), Invalid)
    for call in (
        values.put(key, ONE, token=token()),
        values.delete(key),
        values.undelete(key),
        values.promote(key, "1"),
        values.versions(key),
    ):
        with pytest.raises(Invalid, match="cannot be the name of a secret"):
            await call


async def test_a_put_that_cannot_be_stored_is_refused(values: SqlValues) -> None:
    for wrong in (
        values.put("db", Sensitive(bytes(LARGEST_VALUE + 1)), token=token()),
        values.put("db", ONE, token="short"),
        values.put("db", ONE, token="x" * 31 + "\0"),
        values.put("db", ONE, token=token(), stage=PREVIOUS),
        values.put("db", ONE, token=token(), tags={"a": "b\0"}),
        values.put("db", ONE, token=token(), tags={"a": "b" * 20_000}),
    ):
        with pytest.raises(Invalid):
            await wrong
    assert isinstance(await read(values), NotFound)


async def test_many_are_read_at_once_with_each_ones_own_failure(values: SqlValues) -> None:
    await values.put("db", ONE, token=token())
    await values.put("api", TWO, token=token())
    refs = [SourceRef("db"), SourceRef("api"), SourceRef("gone"), SourceRef("db", "7"), SourceRef("db", "latest"), SourceRef("")]
    answers = await values.get_many([*refs, *refs])
    assert set(answers) == set(refs)
    kinds = [type(answers[ref]) for ref in refs]
    assert kinds == [Value, Value, NotFound, NotFound, NotFound, Invalid]


async def test_a_thousand_values_are_one_query(place: Place) -> None:
    values = await place.values()
    for number in range(3):
        await values.put(f"s{number}", ONE, token=token())
    asked = counting(values._database)
    answers = await values.get_many([SourceRef(f"s{number}") for number in range(1000)])
    assert len(answers) == 1000
    assert len(asked) == 1


async def test_values_that_are_too_much_at_once_come_one_after_the_other(values: SqlValues) -> None:
    large = Sensitive(b"kt-canary" + bytes(LARGEST_VALUE - 9))
    refs = [SourceRef(f"s{number}") for number in range(10)]
    for ref in refs:
        await values.put(ref.key, large, token=token())
    missing, rounds = {*refs, SourceRef("gone")}, 0
    while missing:
        answers = await values.get_many(sorted(missing))
        assert answers
        missing -= answers.keys()
        rounds += 1
    assert rounds == 2


async def test_a_new_version_is_read_from_now_on_and_the_old_one_is_previous(values: SqlValues) -> None:
    for value in (ONE, TWO, THREE):
        await values.put("db", value, token=token())
    assert await data(values) == THREE
    assert await data(values, version=PREVIOUS) == TWO
    assert await data(values, version="1") == ONE
    told = await values.versions("db")
    assert [(version.name, set(version.stages), version.is_readable) for version in told] == [
        ("3", {CURRENT}, True),
        ("2", {PREVIOUS}, True),
        ("1", set(), True),
    ]
    assert all(version.created is not None and len(version.token) == 40 for version in told)


async def test_what_is_pending_is_not_read_until_it_is_promoted(values: SqlValues) -> None:
    await values.put("db", ONE, token=token())
    assert await values.put("db", TWO, token=token(), stage=PENDING) == "2"
    assert await data(values) == ONE
    assert await data(values, version=PENDING) == TWO
    await values.promote("db", "2")
    await values.promote("db", "2")
    assert await data(values) == TWO
    assert await data(values, version=PREVIOUS) == ONE
    assert isinstance(await read(values, version=PENDING), NotFound)


async def test_a_key_with_a_pending_version_alone_is_not_there_yet(values: SqlValues) -> None:
    await values.put("db", ONE, token=token(), stage=PENDING, expect="")
    assert isinstance(await read(values), NotFound)
    assert [meta async for meta in values.list()] == []
    await values.promote("db", "1")
    assert await data(values) == ONE


async def test_there_is_one_pending_version_at_a_time(values: SqlValues) -> None:
    await values.put("db", ONE, token=token())
    for value in (TWO, THREE):
        await values.put("db", value, token=token(), stage=PENDING)
    assert await data(values, version=PENDING) == THREE
    assert await data(values, version="2") == TWO


async def test_an_old_version_can_be_promoted_again(values: SqlValues) -> None:
    for value in (ONE, TWO, THREE):
        await values.put("db", value, token=token())
    await values.promote("db", "2")
    assert (await data(values), await data(values, version=PREVIOUS)) == (TWO, THREE)
    await values.promote("db", "1")
    assert (await data(values), await data(values, version=PREVIOUS)) == (ONE, TWO)
    assert isinstance(await read(values, version="4"), NotFound)


@pytest.mark.parametrize("version", ["4", "0", "-1", "one", "", "99999999999999999999", "٣"])
async def test_a_version_that_is_not_there_is_not_promoted(values: SqlValues, version: str) -> None:
    await values.put("db", ONE, token=token())
    with pytest.raises(NotFound):
        await values.promote("db", version)


async def test_a_put_that_comes_twice_is_one(values: SqlValues) -> None:
    first, second = token(), token()
    assert [await values.put("db", ONE, token=first) for _ in range(2)] == ["1", "1"]
    assert await values.put("db", TWO, token=second) == "2"
    assert await values.put("db", ONE, token=first, expect="") == "1"
    assert await data(values) == TWO
    assert len(await values.versions("db")) == 2


async def test_a_late_put_does_not_undo_a_deletion(values: SqlValues) -> None:
    first = token()
    await values.put("db", ONE, token=first)
    await values.delete("db")
    assert await values.put("db", ONE, token=first) == "1"
    assert isinstance(await read(values), NotFound)


async def test_a_token_that_comes_with_another_value_is_a_conflict(values: SqlValues) -> None:
    first = token()
    await values.put("db", ONE, token=first)
    with pytest.raises(Conflict, match="another value was put with this token"):
        await values.put("db", TWO, token=first)
    assert await data(values) == ONE
    assert await values.put("api", TWO, token=first) == "1"  # a token names a write to one key


async def test_a_write_that_another_one_came_before_changes_nothing(values: SqlValues) -> None:
    with pytest.raises(Conflict):
        await values.put("db", ONE, token=token(), expect="1")
    await values.put("db", ONE, token=token(), expect="")
    for stale in ("", "2", "x"):
        with pytest.raises(Conflict, match="version 1 is"):
            await values.put("db", TWO, token=token(), expect=stale)
    assert await values.put("db", TWO, token=token(), expect="1") == "2"
    assert await data(values) == TWO


@pytest.mark.parametrize("purge", [False, True])
async def test_a_stale_writer_fails_after_a_deletion_and_a_new_creation(values: SqlValues, purge: bool) -> None:  # noqa: FBT001
    await values.put("db", ONE, token=token())
    await values.delete("db", purge=purge)
    with pytest.raises(Conflict, match="it is not there"):
        await values.put("db", TWO, token=token(), expect="1")
    assert await values.put("db", TWO, token=token(), expect="") == "2"
    with pytest.raises(Conflict):
        await values.put("db", THREE, token=token(), expect="1")
    assert await data(values) == TWO
    assert isinstance(await read(values, version="1"), NotFound if purge else Disabled)
    assert isinstance(await read(values, version=PREVIOUS), NotFound)


async def test_what_was_deleted_can_be_brought_back(values: SqlValues) -> None:
    await values.put("db", ONE, token=token(), tags={"team": "shop"})
    await values.put("db", TWO, token=token())
    for _ in range(2):
        await values.delete("db")
    for version in ("", "1", PREVIOUS):
        assert isinstance(await read(values, version=version), NotFound)
    assert [meta async for meta in values.list()] == []
    assert {(version.is_readable, version.stages) for version in await values.versions("db")} == {(False, frozenset())}
    with pytest.raises(NotFound):
        await values.promote("db", "1")
    for _ in range(2):
        await values.undelete("db")
    assert (await data(values), await data(values, version=PREVIOUS)) == (TWO, ONE)
    assert [dict(meta.tags) async for meta in values.list()] == [{"team": "shop"}]


async def test_what_was_purged_is_gone_and_its_numbers_do_not_come_again(values: SqlValues, place: Place) -> None:
    await values.put("db", ONE, token=token(), tags={"team": "shop"})
    for _ in range(2):
        await values.delete("db", purge=True)
    assert await place.execute("SELECT count(*) FROM application_secret_versions") == [(0,)]
    for call in (values.undelete("db"), values.versions("db")):
        with pytest.raises(NotFound):
            await call
    assert await values.put("db", TWO, token=token()) == "2"
    assert [dict(meta.tags) async for meta in values.list()] == [{}]


async def test_what_is_not_there_can_be_deleted_and_not_brought_back(values: SqlValues) -> None:
    await values.delete("db")
    await values.delete("db", purge=True)
    with pytest.raises(NotFound):
        await values.undelete("db")
    with pytest.raises(NotFound):
        await values.versions("db")


async def test_tags_stay_until_others_are_given(values: SqlValues) -> None:
    await values.put("db", ONE, token=token(), tags={"team": "shop"})
    await values.put("db", TWO, token=token())
    assert [dict(meta.tags) async for meta in values.list()] == [{"team": "shop"}]
    await values.put("db", THREE, token=token(), tags={})
    assert [dict(meta.tags) async for meta in values.list()] == [{}]


async def test_stores_in_one_database_know_nothing_of_each_other(place: Place, values: SqlValues) -> None:
    other = await place.values("other")
    await values.put("db", ONE, token=token())
    assert isinstance(await read(other), NotFound)
    assert await other.put("db", TWO, token=token(), expect="") == "1"
    assert await data(values) == ONE
    assert [meta.key async for meta in other.list()] == ["db"]


async def test_after_the_end_nothing_answers(values: SqlValues) -> None:
    await values.put("db", ONE, token=token())
    await values.validate()
    for _ in range(2):
        await values.close()
    for call in (
        values.validate(),
        values.get_many([SourceRef("db")]),
        values.put("db", TWO, token=token()),
        values.survey([SourceRef("db")]),
    ):
        with pytest.raises(Unavailable, match="closed"):
            await call
