"""Writes to Secret Manager: what other readers see of them, what is left of those that lost, and which rights and calls they take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from contract.answers import get, read
from contract.googles import READER, Rig, rigged
from keyturn.model.errors import AccessDenied, Conflict, Disabled, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import CURRENT, PENDING, PREVIOUS
from keyturn.model.sensitive import Sensitive
from keyturn.providers.google_book import Book
from keyturn.providers.google_writer import GoogleWriter

TOKENS = [f"{number:032d}" for number in range(100)]
OLD, NEW, NEWER = (Sensitive.of(f"kt-canary-{word}") for word in ("old", "new", "newer"))
WRITES = ("CreateSecret", "UpdateSecret", "AddSecretVersion", "DestroySecretVersion")


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rigged() as made:
        yield made


def states(rig: Rig, key: str = "db") -> list[str]:
    return [version.state for version in rig.cloud.held.secret(key).versions]


def aliases(rig: Rig, key: str = "db") -> dict[str, int]:
    return rig.cloud.held.secret(key).aliases


def writes(rig: Rig) -> list[str]:
    return [call.method for call in rig.cloud.calls if call.method in WRITES]


async def test_a_put_makes_the_secret_with_the_note_in_it_and_takes_three_writes(rig: Rig) -> None:
    writer = rig.writer()
    assert await writer.put("db", OLD, token=TOKENS[0]) == "1"
    assert writes(rig) == ["CreateSecret", "AddSecretVersion", "UpdateSecret"]
    assert aliases(rig) == {"current": 1}
    rig.cloud.calls.clear()
    assert await writer.put("db", NEW, token=TOKENS[1]) == "2"
    assert writes(rig) == ["UpdateSecret", "AddSecretVersion", "UpdateSecret"]
    assert aliases(rig) == {"current": 2, "previous": 1}


async def test_what_others_wrote_is_pinned_before_anything_waits(rig: Rig) -> None:
    rig.seed("db", b"kt-canary-theirs")
    writer, reader = rig.writer(), rig.open()
    name = await writer.put("db", NEW, token=TOKENS[0], stage=PENDING)
    assert aliases(rig) == {"current": 1, "pending": 2}
    assert await read(reader, "db") == b"kt-canary-theirs"
    await writer.promote("db", name)
    assert aliases(rig) == {"current": 2, "previous": 1}
    assert await read(reader, "db") == NEW.reveal()


async def test_at_no_moment_is_a_waiting_version_read(rig: Rig) -> None:
    """A reader reads between any two calls of the writer, and never has what waits."""
    rig.seed("db", b"kt-canary-theirs")
    reader, seen = rig.open(), set[bytes]()
    await read(reader, "db")
    writer = rig.writer()
    ask = writer._session.ask

    async def watched(method: str, request: object, what: str) -> object:
        answer = await ask(method, request, what)
        for key in ("db", "new"):
            found = await get(reader, key)
            seen.add(type(found).__name__.encode() if isinstance(found, ProviderError) else found.data.reveal())
        return answer

    writer._session.ask = watched  # type: ignore[method-assign]  # to stand between two calls, each of which goes over the wire
    for key in ("db", "new"):
        await writer.put(key, NEW, token=TOKENS[0], stage=PENDING)
    assert seen == {b"kt-canary-theirs", b"NotFound"}
    await writer.promote("new", "2")
    assert await read(reader, "new") == NEW.reveal()


async def test_while_google_does_not_show_the_alias_nothing_is_added_that_would_be_read(rig: Rig) -> None:
    now = [1000.0]
    rig.cloud.held.clock = lambda: now[0]
    rig.cloud.held.lag_s = 60.0
    rig.seed("db", b"kt-canary-theirs")
    now[0] += 60
    writer, reader = rig.writer(), rig.open()
    for _ in range(2):
        with pytest.raises((Unavailable, Conflict)):
            await writer.put("db", NEW, token=TOKENS[0], stage=PENDING)
        assert await read(reader, "db") == b"kt-canary-theirs"
    assert states(rig) == ["ENABLED"]
    now[0] += 60
    name = await writer.put("db", NEW, token=TOKENS[0], stage=PENDING)
    assert await read(reader, "db") == b"kt-canary-theirs"
    assert await read(reader, "db", name) == NEW.reveal()
    now[0] += 60
    assert await writer.put("db", NEW, token=TOKENS[0], stage=PENDING) == name
    assert await read(reader, "db") == b"kt-canary-theirs"
    await writer.promote("db", name)
    now[0] += 60
    assert await read(reader, "db") == NEW.reveal()


async def test_a_write_by_what_google_shows_late_goes_over_nothing(rig: Rig) -> None:
    writer = rig.writer()
    await writer.put("db", OLD, token=TOKENS[0])
    now = [rig.cloud.held.clock() + 100]
    rig.cloud.held.clock = lambda: now[0]
    rig.cloud.held.lag_s = 60.0
    await writer.put("db", NEW, token=TOKENS[1], expect="1")
    with pytest.raises(Conflict):
        await writer.put("db", NEWER, token=TOKENS[2], expect="1")
    now[0] += 60
    with pytest.raises(Conflict):
        await writer.put("db", NEWER, token=TOKENS[2], expect="1")
    assert aliases(rig) == {"current": 2, "previous": 1}
    assert states(rig) == ["ENABLED", "ENABLED"]


async def test_before_a_first_value_that_waits_stands_a_version_that_is_none_and_goes_with_the_promotion(rig: Rig) -> None:
    writer = rig.writer()
    name = await writer.put("db", NEW, token=TOKENS[0], stage=PENDING)
    assert (name, aliases(rig)) == ("2", {"current": 1, "pending": 2})
    assert isinstance(await get(rig.open(), "db"), NotFound)
    assert [(each.name, each.stages) for each in await writer.versions("db")] == [("2", {PENDING})]
    with pytest.raises(Conflict):
        await writer.put("db", OLD, token=TOKENS[1], expect="1")
    await writer.promote("db", name)
    assert (states(rig), aliases(rig)) == (["DESTROYED", "ENABLED"], {"current": 2})


@pytest.mark.parametrize("lost", ["GetSecret", "AccessSecretVersion", *WRITES[:3]])
@pytest.mark.parametrize("stage", [CURRENT, PENDING])
@pytest.mark.parametrize("is_new", [True, False])
async def test_whichever_answer_is_lost_a_put_that_comes_again_happens_once(rig: Rig, lost: str, stage: str, *, is_new: bool) -> None:
    if not is_new:
        rig.seed("db", b"kt-canary-theirs")
    writer = rig.writer()
    expect = "" if is_new else "1"
    rig.cloud.loses.add(lost)
    for _ in range(2):
        with suppress(Unavailable):
            await writer.put("db", NEW, token=TOKENS[0], stage=stage, expect=expect)
    rig.cloud.loses.clear()
    name = await writer.put("db", NEW, token=TOKENS[0], stage=stage, expect=expect)
    assert [each.name for each in await writer.versions("db")] == ([name] if is_new else [name, "1"])
    assert await read(rig.open(), "db", stage) == NEW.reveal()
    assert await writer.put("db", NEW, token=TOKENS[0], stage=stage) == name


async def test_a_put_that_lost_against_another_leaves_nothing_behind(rig: Rig) -> None:
    writer, other = rig.writer(), rig.writer()
    await writer.put("db", OLD, token=TOKENS[0])
    ask = writer._session.ask

    async def overtaken(method: str, request: object, what: str) -> object:
        answer = await ask(method, request, what)
        if method == "add_secret_version":
            await other.put("db", NEWER, token=TOKENS[2])
        return answer

    writer._session.ask = overtaken  # type: ignore[method-assign]  # as above
    with pytest.raises(Conflict):
        await writer.put("db", NEW, token=TOKENS[1], expect="1")
    assert states(rig) == ["ENABLED", "DESTROYED", "ENABLED"]
    assert await read(rig.open(), "db") == NEWER.reveal()


async def test_the_same_put_twice_at_once_makes_one_version_that_is_read(rig: Rig) -> None:
    names = await asyncio.gather(*(rig.writer().put("db", NEW, token=TOKENS[0]) for _ in range(2)))
    assert len(set(names)) == 1
    assert states(rig).count("ENABLED") == 1
    assert await read(rig.open(), "db") == NEW.reveal()


async def test_a_compare_and_set_beside_a_put_that_is_under_way_gives_way_and_after_a_minute_does_not(rig: Rig) -> None:
    writer, later = rig.writer(), rig.writer()
    await writer.put("db", OLD, token=TOKENS[0])
    rig.cloud.loses.add("AddSecretVersion")
    with pytest.raises(Unavailable):
        await writer.put("db", NEW, token=TOKENS[1], expect="1")
    rig.cloud.loses.clear()
    with pytest.raises(Conflict, match="under way"):
        await later.put("db", NEWER, token=TOKENS[2], expect="1")
    now = later._now() + 61
    later._now = lambda: now
    assert await later.put("db", NEWER, token=TOKENS[2], expect="1") == "3"
    with pytest.raises(Conflict):
        await writer.put("db", NEW, token=TOKENS[1], expect="1")
    assert await read(rig.open(), "db") == NEWER.reveal()
    assert states(rig)[1] == "DESTROYED"


async def test_aliases_labels_and_annotations_of_others_stay(rig: Rig) -> None:
    rig.seed("db", b"kt-canary-theirs", {"team": "shop"})
    rig.alias("db", blue=1)
    rig.cloud.held.secret("db").annotations["owner"] = "shop"
    writer = rig.writer()
    name = await writer.put("db", NEW, token=TOKENS[0], stage=PENDING)
    await writer.promote("db", name)
    held = rig.cloud.held.secret("db")
    assert (held.labels, held.aliases["blue"], held.annotations["owner"]) == ({"team": "shop"}, 1, "shop")
    await writer.delete("db", purge=True)
    assert (held.aliases, held.annotations) == ({"blue": 1}, {"owner": "shop"})


async def test_notes_hold_neither_value_nor_token_and_the_oldest_make_room(rig: Rig) -> None:
    writer = rig.writer()
    for number in range(30):
        await writer.put("db", Sensitive.of(f"kt-canary-{number}"), token=TOKENS[number])
    notes = rig.cloud.held.secret("db").annotations
    assert len(notes) == 24
    assert "kt-canary" not in str(notes)
    assert not any(token in str(notes) for token in TOKENS)
    assert await writer.put("db", Sensitive.of("kt-canary-29"), token=TOKENS[29]) == "30"
    assert Book.of(rig.cloud._secret(rig.cloud.held.secret("db"))).taken() == set(range(7, 31))


async def test_a_deletion_destroys_all_versions_keeps_the_secret_and_so_its_numbers(rig: Rig) -> None:
    writer, reader = rig.writer(), rig.open()
    await writer.put("db", OLD, token=TOKENS[0])
    waits = await writer.put("db", NEW, token=TOKENS[1], stage=PENDING)
    await writer.delete("db")
    assert (states(rig), aliases(rig)) == (["DESTROYED", "DESTROYED"], {})
    assert isinstance(await get(reader, "db"), NotFound)
    for version in ("1", waits, CURRENT, PENDING, PREVIOUS):
        assert isinstance(await get(reader, "db", version), NotFound)
    with pytest.raises(NotFound):
        await writer.versions("db")
    assert await writer.put("db", NEWER, token=TOKENS[2], expect="") == "3"
    assert await read(reader, "db") == NEWER.reveal()


async def test_what_is_destroyed_later_is_deleted_now_and_cannot_be_purged(rig: Rig) -> None:
    writer = rig.writer()
    await writer.put("db", OLD, token=TOKENS[0])
    held = rig.cloud.held.secret("db")
    held.destroys_after = held.created - held.created.replace(year=held.created.year - 1)
    with pytest.raises(Invalid, match="version_destroy_ttl"):
        await writer.delete("db", purge=True)
    assert await read(rig.open(), "db") == OLD.reveal()
    await writer.delete("db")
    assert isinstance(await get(rig.open(), "db"), NotFound)
    with pytest.raises(NotFound):
        await writer.versions("db")


async def test_a_version_that_is_switched_off_is_not_promoted(rig: Rig) -> None:
    writer = rig.writer()
    await writer.put("db", OLD, token=TOKENS[0])
    name = await writer.put("db", NEW, token=TOKENS[1], stage=PENDING)
    rig.cloud.held.set_state("db", name, "DISABLED")
    with pytest.raises(Disabled):
        await writer.promote("db", name)
    assert [each.is_readable for each in await writer.versions("db")] == [False, True]
    rig.cloud.held.set_state("db", name, "DESTROYED")
    with pytest.raises(NotFound):
        await writer.promote("db", name)


@pytest.mark.parametrize("tags", [{"Team": "a"}, {"team": "A"}, {"": "a"}, {"1a": "b"}, {"a" * 64: "b"}, {f"a{n}": "" for n in range(65)}])
async def test_tags_that_are_no_labels_are_refused_before_anything_is_asked(rig: Rig, tags: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        await rig.writer().put("db", OLD, token=TOKENS[0], tags=tags)
    assert rig.cloud.calls == []


async def test_who_may_only_read_is_told_so(rig: Rig) -> None:
    rig.seed("db", b"kt-canary-theirs")
    rig.cloud.grants = [(READER, "accessor", ""), (READER, "viewer", "")]
    writer: GoogleWriter = rig.writer()
    for call in (
        writer.put("db", NEW, token=TOKENS[0]),
        writer.put("new", NEW, token=TOKENS[0]),
        writer.delete("db"),
    ):
        with pytest.raises(AccessDenied):
            await call
    with pytest.raises(NotFound):
        await writer.promote("db", "7")
    assert states(rig) == ["ENABLED"]


async def test_regional_secrets_are_written_too(rig: Rig) -> None:
    writer = rig.open(location="europe-west3")
    name = await writer.put("db", OLD, token=TOKENS[0])
    await writer.put("db", NEW, token=TOKENS[1], expect=name)
    assert await read(rig.open(location="europe-west3"), "db") == NEW.reveal()
    assert rig.cloud.calls == []
