"""Another master key: nobody meets a row that it cannot open, and what cannot be moved is told of and left."""

import asyncio
import secrets
from collections.abc import Mapping

import pytest

from keyturn.cli.trail import fact
from keyturn.model.errors import Conflict, Unavailable
from keyturn.model.keys import MasterKeys
from keyturn.model.material import SourceRef, Value
from keyturn.model.sensitive import Sensitive
from keyturn.store import reseal
from keyturn.store.keys import DECRYPT_ONLY, Keyholder, KeyMoved, WrongKey, made, store
from keyturn.store.replicas import Presence
from keyturn.store.rotation import Rotation, RotationStopped, standing
from keyturn.store.values import SqlValues
from store.places import ITERATIONS, Place, token

NAMES = tuple(f"shop/{number}" for number in range(9))


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reseal, "BATCH", 4)


@pytest.fixture
def new() -> str:
    return "kt-canary-" + secrets.token_hex(32)


async def opened(place: Place, *words: str) -> Keyholder:
    """A process with these keys, the wanted one first."""
    names = ("SECRET_KEY", "SECRET_KEY_PREVIOUS")
    holder = Keyholder(place.database(), MasterKeys.of(dict(zip(names, words, strict=False))), ITERATIONS)
    await holder.open()
    return holder


async def rotate(place: Place, *words: str, wait_s: float = 0.0) -> list[str]:
    """What was told."""
    told: list[str] = []
    await Rotation(await opened(place, *words), told.append, fact, ITERATIONS).run(wait_s)
    return told


async def fill(place: Place) -> tuple[SqlValues, Mapping[str, str]]:
    """Values, each the second version of its name, and their tokens."""
    values = SqlValues(await opened(place, place.master), "default")
    tokens = {name: token() for name in NAMES}
    for name in NAMES:
        await values.put(name, Sensitive.of("kt-canary-old"), token=token())
        await values.put(name, Sensitive.of(f"kt-canary-{name}"), token=tokens[name])
    return values, tokens


async def readable(values: SqlValues) -> set[str]:
    found = await values.get_many([SourceRef(name) for name in NAMES])
    return {ref.key for ref, got in found.items() if isinstance(got, Value) and got.data == Sensitive.of(f"kt-canary-{ref.key}")}


async def ids(place: Place) -> dict[str, tuple[str, int]]:
    """The state of each key, and how many rows lie under it."""
    found = await standing(place.database())
    return {key.id: (key.state, found.rows[key.id]) for key in found.keys}


async def test_all_rows_come_under_the_new_key_and_the_old_one_goes(place: Place, new: str) -> None:
    await fill(place)
    told = await rotate(place, new, place.master)
    ((key_id, found),) = (await ids(place)).items()
    assert found == ("active", 3 * len(NAMES))
    assert told[-2].startswith("dropped k-")
    assert told[-1] == f"done: all rows lie under {key_id}, which is active; the old key is needed for older backups alone"
    assert await readable(SqlValues(await opened(place, new), "default")) == set(NAMES)
    with pytest.raises(WrongKey):
        await opened(place, place.master)


async def test_nothing_that_is_told_of_a_value_changes(place: Place, new: str) -> None:
    values, tokens = await fill(place)
    refs = [SourceRef(name) for name in NAMES]
    before = await values.survey(refs), [await values.versions(name) for name in NAMES]
    fingerprint_key = await (await opened(place, place.master)).fingerprint_key()
    await rotate(place, new, place.master)
    holder = await opened(place, new)
    values = SqlValues(holder, "default")
    assert (await values.survey(refs), [await values.versions(name) for name in NAMES]) == before
    assert await holder.fingerprint_key() == fingerprint_key
    assert await values.put(NAMES[0], Sensitive.of(f"kt-canary-{NAMES[0]}"), token=tokens[NAMES[0]]) == "2"
    with pytest.raises(Conflict):
        await values.put(NAMES[1], Sensitive.of("kt-canary-other"), token=tokens[NAMES[1]])


async def test_to_run_it_again_changes_nothing(place: Place, new: str) -> None:
    await fill(place)
    await rotate(place, new, place.master)
    before = await ids(place)
    told = await rotate(place, new, place.master)
    assert await ids(place) == before
    assert told == [f"SECRET_KEY is the key {next(iter(before))}, which is active", told[-1]]
    assert told[-1] == "nothing to rotate: SECRET_KEY is the active key already; to bring in another make it SECRET_KEY"


async def added(place: Place, words: str) -> str:
    """The id of a key that a rotation brought in and did not come to activate."""
    row, _ = await made(MasterKeys.of({"SECRET_KEY": words}).wanted, DECRYPT_ONLY, ITERATIONS)
    async with place.database().writing() as connection:
        await store(connection, row)
    return row.id


async def test_to_rotate_without_another_key_is_no_rotation_and_says_so(place: Place) -> None:
    await fill(place)
    before = await ids(place)
    assert (await rotate(place, place.master))[-1].startswith(
        "nothing to rotate: SECRET_KEY is the active key already; to bring in another"
    )
    assert await ids(place) == before


@pytest.mark.parametrize("was_added", [False, True])
async def test_keys_that_are_swapped_are_refused_and_none_is_dropped(place: Place, new: str, was_added: bool) -> None:  # noqa: FBT001  # a column of the table
    await fill(place)
    if was_added:
        await added(place, new)
    before = await ids(place)
    with pytest.raises(
        RotationStopped, match=r"swapped: SECRET_KEY is k-[0-9a-f]{8}, which is active already, and SECRET_KEY_PREVIOUS is not in use"
    ):
        await rotate(place, place.master, new)
    assert await ids(place) == before


async def test_a_key_that_is_left_is_told_of_and_withdrawn_when_that_is_asked_for(place: Place, new: str) -> None:
    await fill(place)
    before, left = await ids(place), await added(place, new)
    assert f"; added and not activated: '{left}'" in (await rotate(place, place.master))[-1]
    told: list[str] = []
    for _ in range(2):
        await Rotation(await opened(place, place.master), told.append, fact, ITERATIONS).withdraw()
    assert await ids(place) == before
    [active] = before
    assert told[:2] == [f"dropped {left}: nothing lies under it", f"done: {active} stays active"]
    assert told[2:] == [f"nothing to withdraw: no key was added beside {active}, which is active"]


async def test_nothing_is_withdrawn_by_who_does_not_want_the_active_key(place: Place, new: str) -> None:
    await fill(place)
    await added(place, new)
    before = await ids(place)
    with pytest.raises(RotationStopped, match=r"nothing was withdrawn: k-[0-9a-f]{8} is active, and SECRET_KEY is another key"):
        await Rotation(await opened(place, new, place.master), lambda _: None, fact, ITERATIONS).withdraw()
    assert await ids(place) == before


async def test_a_live_replica_that_lacks_the_key_stops_the_activation(place: Place, new: str) -> None:
    await fill(place)
    old = await opened(place, place.master)
    presence = Presence(old, "old-replica")
    await presence.enter()
    with pytest.raises(RotationStopped, match=rf"was not activated, .*{presence.id}; give them the new key as SECRET_KEY") as stopped:
        await rotate(place, new, place.master)
    assert str(stopped.value).endswith("one that is gone is waited for until it was silent for 45 seconds")
    states = await ids(place)
    assert states[old.ring.active] == ("active", 3 * len(NAMES))
    assert sorted(states.values()) == [("active", 3 * len(NAMES)), ("decrypt_only", 0)]
    await presence.leave()
    await rotate(place, new, place.master)
    assert [state for state, _ in (await ids(place)).values()] == ["active"]


async def test_a_replica_that_is_silent_is_not_waited_for_and_writes_nothing_under_the_old_key(place: Place, new: str) -> None:
    await fill(place)
    late = await opened(place, place.master)
    await Presence(late, "frozen").enter()
    await place.execute("UPDATE replicas SET seen_at = '2026-01-01 00:00:00+00:00'")
    await rotate(place, new, place.master)
    with pytest.raises(Unavailable):
        await SqlValues(late, "default").put("late", Sensitive.of("kt-canary-late"), token=token())
    assert [state for state, _ in (await ids(place)).values()] == ["active"]
    assert await readable(SqlValues(await opened(place, new), "default")) == set(NAMES)


async def test_a_replica_with_both_keys_takes_the_new_one_over_while_it_is_waited_for(place: Place, new: str) -> None:
    await fill(place)
    holder = await opened(place, new, place.master)
    presence, stop = Presence(holder), asyncio.Event()
    await presence.enter()
    beating = asyncio.create_task(presence.keep(stop, every_s=0.05))
    values = SqlValues(holder, "default")
    told = await rotate(place, new, place.master, wait_s=60)
    [active] = await ids(place)
    assert f"activated {active}: every live replica can open it" in told
    await values.put("after", Sensitive.of("kt-canary-after"), token=token())
    assert await readable(values) == set(NAMES)
    assert [state for state, _ in (await ids(place)).values()] == ["active"]
    stop.set()
    await beating


async def test_who_writes_and_reads_meanwhile_is_not_disturbed(place: Place, new: str) -> None:
    values, _ = await fill(place)
    values = SqlValues(await opened(place, new, place.master), "default")
    written, stop = asyncio.Semaphore(0), asyncio.Event()

    async def write() -> int:
        number = 0
        while not stop.is_set():
            await values.put(f"meanwhile/{number}", Sensitive.of("kt-canary-m"), token=token())
            assert await readable(values) == set(NAMES)
            number += 1
            written.release()
        return number

    writing = asyncio.create_task(write())
    async with asyncio.timeout(60):
        await written.acquire()
        await rotate(place, new, place.master)
        while not written.locked():
            await written.acquire()
        await written.acquire()
        stop.set()
    count = await writing
    assert list((await ids(place)).values()) == [("active", 3 * len(NAMES) + 2 * count)]


async def test_a_row_that_is_not_as_written_is_left_told_of_and_keeps_its_key(place: Place, new: str) -> None:
    await fill(place)
    await place.execute("UPDATE application_secret_versions SET enabled = NOT enabled WHERE id = 2")
    for _ in range(2):
        with pytest.raises(RotationStopped, match=r"1 rows are not as they were written .* 'shop/0' of store 'default'"):
            await rotate(place, new, place.master)
        assert sorted((await ids(place)).values()) == [("active", 3 * len(NAMES) - 1), ("decrypt_only", 1)]
    values = SqlValues(await opened(place, new, place.master), "default")
    assert await readable(values) == set(NAMES[1:])
    await place.execute("UPDATE application_secret_versions SET enabled = NOT enabled WHERE id = 2")
    await rotate(place, new, place.master)
    assert await readable(values) == set(NAMES)


async def test_a_change_of_mind_goes_back_to_the_old_key(place: Place, new: str) -> None:
    await fill(place)
    await place.execute("UPDATE application_secret_versions SET enabled = NOT enabled WHERE id = 18")
    with pytest.raises(RotationStopped):
        await rotate(place, new, place.master)
    await place.execute("UPDATE application_secret_versions SET enabled = NOT enabled WHERE id = 18")
    await rotate(place, place.master, new)
    assert [state for state, _ in (await ids(place)).values()] == ["active"]
    assert await readable(SqlValues(await opened(place, place.master), "default")) == set(NAMES)


async def test_the_new_key_alone_cannot_begin(place: Place, new: str) -> None:
    await fill(place)
    before = await ids(place)
    with pytest.raises(WrongKey):
        await rotate(place, new)
    assert await ids(place) == before


async def test_a_key_that_somebody_else_brings_in_is_not_dropped(place: Place, new: str) -> None:
    await fill(place)
    holder = await opened(place, new, place.master)
    rotation = Rotation(holder, lambda _: None, fact, ITERATIONS)
    target = await rotation._add()
    other, _ = await made(MasterKeys.of({"SECRET_KEY": "kt-canary-" + secrets.token_hex(32)}).wanted, DECRYPT_ONLY, ITERATIONS)
    async with place.database().writing() as connection:
        await store(connection, other)
    await rotation.run(0)
    assert set(await ids(place)) == {target, other.id}


async def test_who_finds_another_key_activated_meanwhile_stops(place: Place, new: str) -> None:
    await fill(place)
    holder = await opened(place, new, place.master)
    await rotate(place, new, place.master)
    with pytest.raises(KeyMoved, match="another key of the database was activated meanwhile"):
        await Rotation(holder, lambda _: None, fact)._move(holder.ring.active)


async def test_a_new_key_in_a_file_needs_an_id_of_its_own(place: Place, new: str) -> None:
    await Keyholder(place.database(), MasterKeys.of({}, f"k1: {place.master}"), ITERATIONS).open()
    holder = Keyholder(place.database(), MasterKeys.of({}, f"k1: {new}\nk0: {place.master}"), ITERATIONS)
    with pytest.raises(WrongKey):
        await holder.open()
    fine = Keyholder(place.database(), MasterKeys.of({}, f"k2: {new}\nk1: {place.master}"), ITERATIONS)
    await fine.open()
    await Rotation(fine, lambda _: None, fact, ITERATIONS).run(0)
    assert await ids(place) == {"k2": ("active", 0)}
