"""A key's id that is used again, as after a change of mind: whoever knew the key that bore it before loses nothing."""

import secrets
from collections.abc import Mapping

import pytest

from keyturn.cli.trail import fact
from keyturn.model.errors import Unavailable
from keyturn.model.keys import MasterKeys
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.store.cipher import Tampered
from keyturn.store.keys import DECRYPT_ONLY, Keyholder, KeyMoved, made, store
from keyturn.store.replicas import Presence
from keyturn.store.rotation import Rotation, RotationStopped
from keyturn.store.values import SqlValues
from store.places import ITERATIONS, Place, counting, token

OLD, NEW = Sensitive.of("kt-canary-old-value"), Sensitive.of("kt-canary-new-value")


@pytest.fixture
def words() -> Mapping[str, str]:
    """What the file of keys says of each id."""
    return {key_id: "kt-canary-" + secrets.token_hex(32) for key_id in ("a", "b")}


def masters(words: Mapping[str, str], ids: str) -> MasterKeys:
    """The wanted one first."""
    return MasterKeys.of({}, "\n".join(f"{key_id}: {words[key_id]}" for key_id in ids))


async def opened(place: Place, words: Mapping[str, str], ids: str) -> Keyholder:
    holder = Keyholder(place.database(), masters(words, ids), ITERATIONS)
    await holder.open()
    return holder


async def rotate(place: Place, words: Mapping[str, str], ids: str) -> None:
    await Rotation(await opened(place, words, ids), lambda _: None, fact, ITERATIONS).run(0)


async def values_of(place: Place, words: Mapping[str, str], ids: str) -> SqlValues:
    return SqlValues(await opened(place, words, ids), "default")


async def read(values: SqlValues, name: str) -> object:
    answer = (await values.get_many([SourceRef(name)]))[SourceRef(name)]
    return answer.data if isinstance(answer, Value) else answer


async def test_a_replica_has_to_take_over_the_new_key_of_an_id_that_it_knew(place: Place, words: Mapping[str, str]) -> None:
    await (await values_of(place, words, "a")).put("old", OLD, token=token())
    holder = await opened(place, words, "ba")
    presence, values = Presence(holder), SqlValues(holder, "default")
    await presence.enter()
    with pytest.raises(RotationStopped, match=presence.id):
        await rotate(place, words, "ba")
    await presence.beat()
    await rotate(place, words, "ba")
    with pytest.raises(RotationStopped, match=f"a was not activated, since these replicas cannot open it: {presence.id}"):
        await rotate(place, words, "ab")
    await presence.beat()
    await rotate(place, words, "ab")
    await values.put("new", NEW, token=token())
    for reader in (values, await values_of(place, words, "a")):
        assert [await read(reader, name) for name in ("old", "new")] == [OLD, NEW]


@pytest.mark.parametrize("first", ["read", "put", "versions", "delete"])
async def test_a_program_that_ran_all_the_time_notices_nothing(place: Place, words: Mapping[str, str], first: str) -> None:
    holder = await opened(place, words, "ab")
    values = SqlValues(holder, "default")
    for name in ("old", "gone"):
        await values.put(name, OLD, token=token())
    fingerprint_key = await holder.fingerprint_key()
    await rotate(place, words, "ba")
    await rotate(place, words, "ab")
    match first:
        case "read":
            assert await read(values, "old") == OLD
        case "put":
            await values.put("old", OLD, token=token())
        case "versions":
            assert [version.name for version in await values.versions("old")] == ["1"]
        case _:
            await values.delete("gone")
    await values.put("new", NEW, token=token())
    other = await opened(place, words, "a")
    for reader in (values, SqlValues(other, "default")):
        assert [await read(reader, name) for name in ("old", "new")] == [OLD, NEW]
    assert await holder.fingerprint_key() == await other.fingerprint_key() == fingerprint_key


async def test_who_has_the_earlier_words_of_an_id_alone_can_open_nothing_and_writes_nothing(place: Place, words: Mapping[str, str]) -> None:
    values = await values_of(place, words, "ab")
    await values.put("old", OLD, token=token())
    await rotate(place, words, "ba")
    await rotate(place, {**words, "a": "kt-canary-" + secrets.token_hex(32)}, "ab")
    for _ in range(2):
        with pytest.raises(Unavailable, match="this process has not got the new one"):
            await values.put("new", NEW, token=token())
    assert list(await place.execute("SELECT name FROM application_secrets")) == [("old",)]


async def test_a_key_whose_id_another_one_took_over_is_unknown_and_no_row_looks_changed(place: Place, words: Mapping[str, str]) -> None:
    """It is not the active one: what is, this process can open, and goes on."""
    values = await values_of(place, words, "ab")
    await values.put("old", OLD, token=token())
    await rotate(place, words, "ba")
    other = {**words, "a": "kt-canary-" + secrets.token_hex(32)}
    row, _ = await made(masters(other, "a").wanted, DECRYPT_ONLY, ITERATIONS)
    async with place.database().writing() as connection:
        await store(connection, row)
    await values._holder.refresh()
    assert values._holder.ring.ids == {"b"}
    assert await read(values, "old") == OLD


async def test_a_row_that_was_changed_is_told_of_after_one_look_at_the_keys(place: Place, words: Mapping[str, str]) -> None:
    values = await values_of(place, words, "a")
    await values.put("old", OLD, token=token())
    await place.execute("UPDATE application_secret_versions SET enabled = NOT enabled")
    asked = counting(values._database)
    assert isinstance(await read(values, "old"), Tampered)
    assert ["encryption_keys" in statement for statement in asked] == [False, True]


async def test_a_key_that_was_brought_in_anew_meanwhile_is_not_activated(place: Place, words: Mapping[str, str]) -> None:
    holder = await opened(place, words, "a")
    fingerprint_key = await holder.fingerprint_key()
    rotation = Rotation(await opened(place, words, "ba"), lambda _: None, fact, ITERATIONS)
    await rotation._add()
    await place.execute("DELETE FROM encryption_keys WHERE id = 'b'")
    await Rotation(await opened(place, words, "ba"), lambda _: None, fact, ITERATIONS)._add()
    with pytest.raises(KeyMoved, match="run this again"):
        await rotation._try_to_activate("b")
    await rotate(place, words, "ba")
    assert await (await opened(place, words, "b")).fingerprint_key() == fingerprint_key
