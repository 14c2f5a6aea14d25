"""What the azureKeyVault provider writes: limits, tags, names that were deleted, and what waits for a promotion."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from contract.answers import get, read
from contract.azures import Rig, rigged
from contract.sources import until
from keyturn.model.errors import AccessDenied, Conflict, Invalid, NotFound, ProviderError
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Value
from keyturn.model.sensitive import Sensitive
from keyturn.providers.azure_names import TAG, WAITING
from keyturn.testing.azure_secrets import Rights

TOKEN = "t" * 32
OTHER = "o" * 32


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    with rigged() as made:
        made.seed("db", "kt-canary-db", {"team": "shop"})
        yield made
        await made.close()


def value(text: str) -> Sensitive:
    return Sensitive.of(f"kt-canary-{text}")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"kt-canary" + b"x" * (25 << 10), "takes 25 KiB"),
        (b"kt-canary\xff", "holds text"),
        (b"kt-canary" + "ä".encode() * 12_796, "takes 25 KiB"),
    ],
)
async def test_what_a_vault_does_not_take_is_refused_before_it_is_sent(rig: Rig, data: bytes, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        await rig.open().put("db", Sensitive(data), token=TOKEN)
    assert rig.vault.asked == []


async def test_the_largest_value_that_a_vault_takes_goes_through(rig: Rig) -> None:
    data = b"kt-canary" + b"\x01" * ((25 << 10) - 9)
    await rig.open().put("db", Sensitive(data), token=TOKEN)
    assert await read(rig.open()) == data


@pytest.mark.parametrize(
    "tags",
    [{f"n{n}": "" for n in range(15)}, {"": "x"}, {"x" * 257: ""}, {"x": "y" * 257}, {TAG: "1 put a b"}],
    ids=["15", "", "name", "text", "ours"],
)
async def test_tags_that_a_version_cannot_have_are_refused(rig: Rig, tags: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="tag"):
        await rig.open().put("db", value("new"), token=TOKEN, tags=tags)
    assert rig.vault.asked == []


async def test_fourteen_tags_go_through_and_a_fifteenth_of_somebody_else_leaves_no_room(rig: Rig) -> None:
    writer = rig.open()
    await writer.put("db", value("new"), token=TOKEN, tags={f"n{n}": "x" * 256 for n in range(14)})
    assert len(rig.vault.held["db"].versions[-1].tags) == 15
    rig.seed("full", "kt-canary-full", {f"n{n}": "" for n in range(15)})
    with pytest.raises(Invalid, match="no room"):
        await writer.put("full", value("new"), token=TOKEN)
    await writer.put("full", value("new"), token=TOKEN, tags={})


async def test_tags_and_content_type_stay_and_neither_token_nor_value_is_in_them(rig: Rig) -> None:
    rig.vault.held["db"].versions[-1].content_type = "password"
    await rig.open().put("db", value("new"), token=TOKEN)
    made = rig.vault.held["db"].versions[-1]
    assert made.tags.items() >= {"team": "shop"}.items()
    assert made.content_type == "password"
    assert TOKEN not in made.tags[TAG]
    assert "kt-canary" not in made.tags[TAG]


async def test_versions_of_one_second_are_in_the_order_in_which_they_were_put(rig: Rig) -> None:
    """Times are whole seconds and lists have no order: what was put last is told by its tag."""
    writer = rig.open()
    names = [await writer.put("db", value(str(number)), token=f"{number:032}") for number in range(6)]
    found = await writer.versions("db")
    assert [each.name for each in found][:6] == names[::-1]
    assert [set(each.stages) for each in found[:3]] == [{CURRENT}, {PREVIOUS}, set()]


async def test_of_two_that_others_made_in_one_second_the_vault_says_which_is_current(rig: Rig) -> None:
    for number in range(6):
        rig.vault.put("db", f"kt-canary-{number}")
    current = rig.vault.held["db"].versions[-1].id
    assert (await rig.open().versions("db"))[0].name == current


async def test_a_tag_that_somebody_took_along_is_not_taken_for_a_put(rig: Rig) -> None:
    writer = rig.open()
    first = await writer.put("db", value("one"), token=TOKEN)
    rig.seed("db", "kt-canary-by-hand", dict(rig.vault.held["db"].versions[-1].tags))
    assert await writer.put("db", value("one"), token=TOKEN) == first
    assert await read(writer) == b"kt-canary-by-hand"
    with pytest.raises(Conflict, match="same token"):
        await writer.put("db", value("by-hand"), token=TOKEN)


async def test_a_name_that_was_deleted_is_recovered_and_written_to(rig: Rig) -> None:
    writer = rig.open()
    await writer.delete("db")
    version = await writer.put("db", value("new"), token=TOKEN)
    found = await get(writer)
    assert isinstance(found, Value)
    assert (found.version, found.data) == (version, value("new"))
    assert len(rig.vault.held["db"].versions) == 2


async def test_a_put_that_comes_late_brings_nothing_back_also_where_it_was_not_the_last(rig: Rig) -> None:
    writer = rig.open()
    first = await writer.put("db", value("one"), token=TOKEN)
    await writer.put("db", value("two"), token=OTHER)
    await writer.delete("db")
    assert await writer.put("db", value("one"), token=TOKEN) == first
    assert isinstance(await get(writer), NotFound)


@pytest.mark.parametrize("look", [1, 2], ids=["as it is back", "before it goes again"])
async def test_a_put_that_comes_late_takes_nothing_along_that_another_has_put_meanwhile(rig: Rig, look: int) -> None:
    writer = rig.open()
    first = await writer.put("db", value("one"), token=TOKEN)
    await writer.put("db", value("two"), token=OTHER)
    await writer.delete("db")
    looks: list[str] = []

    def overtaken(request: web.Request) -> None:
        if request.path.startswith("/secrets/db/versions") and not rig.vault.held["db"].is_deleted:
            looks.append(request.path)
            if len(looks) == look:
                rig.seed("db", "kt-canary-three")

    rig.vault.trouble = overtaken
    assert await writer.put("db", value("one"), token=TOKEN) == first
    assert await read(writer) == b"kt-canary-three"
    assert len(looks) == 2


async def test_a_put_that_comes_late_leaves_what_another_has_recovered(rig: Rig) -> None:
    writer = rig.open()
    first = await writer.put("db", value("one"), token=TOKEN)
    await writer.put("db", value("two"), token=OTHER)
    await writer.delete("db")

    def overtaken(request: web.Request) -> None:
        if request.path.endswith("/recover"):
            rig.vault.held["db"].is_deleted = False

    rig.vault.trouble = overtaken
    assert await writer.put("db", value("one"), token=TOKEN) == first
    assert await read(writer) == b"kt-canary-two"


async def test_versions_that_would_be_too_much_to_keep_are_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(60):
        rig.seed("db", "kt-canary-db", {f"n{n}": "x" * 256 for n in range(15)})
    assert len(await rig.open().versions("db")) == 61
    monkeypatch.setattr("keyturn.providers.azure.MOST_KEPT", 60 * 15 * 256)
    with pytest.raises(Invalid, match="too many versions"):
        await rig.open().versions("db")


async def test_a_deletion_that_takes_its_time_is_waited_for(rig: Rig) -> None:
    rig.vault.lag_s = 0.6
    writer = rig.open()
    await writer.delete("db", purge=True)
    await writer.put("db", value("new"), token=TOKEN)
    assert len(rig.vault.held["db"].versions) == 1
    deleting = asyncio.create_task(writer.delete("db"))
    await until(lambda: rig.vault.held["db"].is_deleted)
    await writer.put("db", value("newer"), token=OTHER)
    await deleting
    assert await read(writer) == b"kt-canary-newer"


async def test_a_purge_that_the_vault_forbids_is_told_and_nothing_is_lost(rig: Rig) -> None:
    rig.vault.is_purge_protected = True
    writer = rig.open()
    with pytest.raises(AccessDenied, match="purge"):
        await writer.delete("db", purge=True)
    await writer.undelete("db")
    assert await read(writer) == b"kt-canary-db"


@pytest.mark.parametrize("missing", ["set", "list", "recover"])
async def test_a_right_that_is_missing_is_named(rig: Rig, missing: str) -> None:
    writer = rig.open()
    await writer.delete("db")
    rig.vault.rights[rig.client_id] = Rights(frozenset({"get", "list", "set", "recover"}) - {missing})
    with pytest.raises(AccessDenied):
        await writer.put("db", value("new"), token=TOKEN)


async def test_no_version_may_be_expected(rig: Rig) -> None:
    with pytest.raises(Invalid, match="no check-and-set"):
        await rig.open().put("db", value("new"), token=TOKEN, expect="")


async def test_what_waits_is_a_secret_of_its_own_that_no_reader_of_the_vault_takes_for_the_key(rig: Rig) -> None:
    writer = rig.open()
    name = await writer.put("db", value("waits"), token=TOKEN, stage=PENDING)
    assert rig.vault.held["db"].versions[-1].value == "kt-canary-db"
    assert await read(writer, version=PENDING) == await read(writer, version=name) == b"kt-canary-waits"
    assert [meta.key async for meta in writer.list()] == ["db"]
    await writer.promote("db", name)
    assert rig.vault.held["db"].versions[-1].value == "kt-canary-waits"
    assert not rig.vault.held[f"db{WAITING}"].versions[-1].is_enabled
    found = await get(writer)
    assert isinstance(found, Value)
    assert found.version == name
    assert await read(writer, version=name) == b"kt-canary-waits"
    assert await read(writer, version=PREVIOUS) == b"kt-canary-db"
    assert isinstance(await get(writer, version=PENDING), NotFound)
    # The next one waits in the same place, whether a purge is allowed or not.
    again = await writer.put("db", value("waits again"), token=OTHER, stage=PENDING)
    assert await read(writer, version=again) == b"kt-canary-waits again"


async def test_a_promotion_whose_answer_was_lost_is_done_once(rig: Rig) -> None:
    writer = rig.open()
    name = await writer.put("db", value("waits"), token=TOKEN, stage=PENDING)
    rig.cloud.is_losing = True
    with pytest.raises(ProviderError):
        await writer.promote("db", name)
    rig.cloud.is_losing = False
    await writer.promote("db", name)
    assert len(rig.vault.held["db"].versions) == 2
    assert not rig.vault.held[f"db{WAITING}"].versions[-1].is_enabled


async def test_a_name_that_is_too_long_has_no_stages(rig: Rig) -> None:
    key = "k" * 120
    writer = rig.open()
    await writer.put(key, value("x"), token=TOKEN)
    with pytest.raises(Invalid, match="has no stages"):
        await writer.put(key, value("x"), token=OTHER, stage=PENDING)
    assert len(await writer.versions(key)) == 1
    await writer.delete(key)
    assert isinstance(await get(writer, key), NotFound)


async def test_ten_puts_at_once_on_a_vault_that_nobody_asked_before_keep_their_bodies_apart(rig: Rig) -> None:
    """The SDK keeps the body of a request back until the vault has told whose token it wants: no other request may get it."""
    fresh = rig.cloud.vault("fresh")
    fresh.rights, fresh.now = rig.vault.rights, rig.vault.now
    writer = rig.open(vault=fresh.host)
    await asyncio.gather(*(writer.put(f"k{number}", value(str(number)), token=f"{number:032}") for number in range(10)))
    assert {name: held.versions[-1].value for name, held in fresh.held.items()} == {f"k{n}": f"kt-canary-{n}" for n in range(10)}
    rig.entra.expire()
    await asyncio.gather(*(writer.put(f"k{number}", value(f"again {number}"), token=f"a{number:031}") for number in range(10)))
    assert {name: held.versions[-1].value for name, held in fresh.held.items()} == {f"k{n}": f"kt-canary-again {n}" for n in range(10)}
