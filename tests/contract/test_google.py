"""What the Google provider asks a Secret Manager, and what it makes of its answers. The other side is a fake."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
import trustme

from contract.answers import get, read
from contract.files import all_that_hangs_on
from contract.googles import PROSE, READER, Rig, rigged
from keyturn.decide.address import AddressRules
from keyturn.decide.reach import Reach
from keyturn.model.errors import AccessDenied, AuthFailed, Disabled, Invalid, NotFound, ProviderError, Rejected, Throttled, Unavailable
from keyturn.model.google import AmbientLogin, GoogleConfig
from keyturn.model.ids import Kind
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Cap, SourceRef, Value
from keyturn.model.order import Access, ProviderOrder
from keyturn.ports import Writer
from keyturn.providers import google as module
from keyturn.providers.google_names import VACANT, crc32c
from keyturn.providers.registry import Surroundings, build


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rigged() as made:
        made.seed("db", b"kt-canary-db")
        yield made


async def test_a_read_is_the_newest_version_where_nothing_is_staged_and_takes_two_accesses(rig: Rig) -> None:
    provider = rig.open()
    rig.seed("db", b"kt-canary-newer")
    found = await get(provider, "db")
    assert isinstance(found, Value)
    assert (found.data.reveal(), found.version, found.fingerprint) == (b"kt-canary-newer", "2", "")
    assert [call.name.rpartition("/")[2] for call in rig.cloud.calls] == ["latest", "current"]


async def test_where_the_alias_current_is_it_is_what_is_read_and_from_then_on_by_one_access(rig: Rig) -> None:
    provider = rig.open()
    rig.seed("db", b"kt-canary-waits")
    rig.alias("db", current=1, pending=2)
    assert await read(provider, "db") == b"kt-canary-db"
    rig.cloud.calls.clear()
    assert await read(provider, "db") == await read(provider, "db", CURRENT) == b"kt-canary-db"
    assert [call.name.rpartition("/")[2] for call in rig.cloud.calls] == ["current", "current"]
    assert await read(provider, "db", PENDING) == await read(provider, "db", "latest") == b"kt-canary-waits"
    assert isinstance(await get(provider, "db", PREVIOUS), NotFound)


async def test_once_the_alias_is_gone_the_newest_is_read_again(rig: Rig) -> None:
    provider = rig.open()
    rig.seed("db", b"kt-canary-newer")
    rig.alias("db", current=1)
    assert await read(provider, "db") == b"kt-canary-db"
    rig.cloud.held.secret("db").aliases.clear()
    assert await read(provider, "db") == b"kt-canary-newer"


async def test_any_alias_can_be_read(rig: Rig) -> None:
    rig.alias("db", blue=1)
    found = await get(rig.open(), "db", "blue")
    assert isinstance(found, Value)
    assert (found.data.reveal(), found.version) == (b"kt-canary-db", "1")


async def test_what_is_disabled_stays_and_what_is_destroyed_is_gone(rig: Rig) -> None:
    provider, held = rig.open(), rig.cloud.held
    held.set_state("db", "1", "DISABLED")
    assert isinstance(await get(provider, "db"), Disabled)
    assert isinstance(await get(provider, "db", "1"), Disabled)
    held.set_state("db", "1", "DESTROYED")
    assert isinstance(await get(provider, "db"), NotFound)
    assert isinstance(await get(provider, "db", "1"), NotFound)


async def test_a_newest_version_that_is_disabled_is_not_passed_over_for_an_older_one(rig: Rig) -> None:
    rig.seed("db", b"kt-canary-newer")
    rig.cloud.held.set_state("db", "2", "DISABLED")
    assert isinstance(await get(rig.open(), "db"), Disabled)


async def test_without_the_right_to_see_states_what_may_be_destroyed_counts_as_disabled(rig: Rig) -> None:
    rig.cloud.grants = [(READER, "accessor", "")]
    rig.cloud.held.set_state("db", "1", "DESTROYED")
    found = await get(rig.open(), "db")
    assert isinstance(found, Disabled)
    assert "or destroyed" in str(found)


async def test_what_waits_for_its_destruction_is_gone(rig: Rig) -> None:
    held = rig.cloud.held.secret("db")
    held.destroys_after = held.created - held.created.replace(year=held.created.year - 1)
    rig.cloud.held.set_state("db", "1", "DESTROYED")
    assert held.versions[0].data
    assert isinstance(await get(rig.open(), "db"), NotFound)


async def test_a_version_that_stands_for_none_is_none(rig: Rig) -> None:
    rig.seed("new", VACANT)
    for version in ("", "1", "latest"):
        assert isinstance(await get(rig.open(), "new", version), NotFound)


async def test_secrets_of_a_region_are_others_and_at_another_endpoint(rig: Rig) -> None:
    rig.regional.held.create("db", {}, {})
    rig.regional.held.add("db", b"kt-canary-regional")
    assert await read(rig.open(location="europe-west3"), "db") == b"kt-canary-regional"
    assert rig.regional.calls[0].name == "projects/shop/locations/europe-west3/secrets/db/versions/latest"
    assert await read(rig.open(), "db") == b"kt-canary-db"


async def test_a_damaged_answer_is_none(rig: Rig) -> None:
    rig.cloud.damages = True
    assert isinstance(await get(rig.open(), "db"), Unavailable)


@pytest.mark.parametrize(("data", "told"), [(b"123456789", 0xE3069283), (b"", 0), (b"\0" * 32, 0x8A9136AA), (b"a" * 65536, None)])
async def test_the_checksum_is_castagnolis(data: bytes, told: int | None) -> None:
    assert told is None or await crc32c(data) == told
    assert await crc32c(data + b"x") != await crc32c(data + b"y")


async def test_a_list_comes_in_pages_and_a_prefix_goes_along(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 7)
    for number in range(30):
        rig.seed(f"shop-{number:02}", b"kt-canary", {"team": "shop"})
    provider = rig.open()
    listed = [meta async for meta in provider.list("shop-")]
    assert [meta.key for meta in listed] == [f"shop-{number:02}" for number in range(30)]
    assert all(meta.tags == {"team": "shop"} and meta.fingerprint == "" for meta in listed)
    assert rig.cloud.count("ListSecrets") == 5
    assert [meta.key async for meta in provider.list("no such/")] == []
    assert rig.cloud.count("ListSecrets") == 5


async def test_a_page_that_is_too_long_is_asked_for_in_parts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.providers.google_wire._OPTIONS", (("grpc.max_receive_message_length", 4096),))
    for number in range(40):
        rig.seed(f"shop-{number:02}", b"kt-canary", {f"label-{each}": "x" * 60 for each in range(10)})
    assert len([meta async for meta in rig.open().list("shop-")]) == 40


async def test_whoever_may_not_list_reads_all_the_same_and_says_so(rig: Rig) -> None:
    rig.cloud.grants = [(READER, "accessor", "db")]
    rig.seed("bank", b"kt-canary-bank")
    provider = rig.open()
    assert Cap.LIST in provider.caps
    await provider.validate()
    assert Cap.LIST not in provider.caps
    assert await read(provider, "db") == b"kt-canary-db"
    assert isinstance(await get(provider, "bank"), AccessDenied)
    with pytest.raises(AccessDenied):
        [meta async for meta in provider.list()]


async def test_a_quota_that_is_used_up_is_told_with_its_pause_and_ends_with_the_minute(rig: Rig) -> None:
    now = [600.0]
    rig.cloud.clock = lambda: now[0]
    rig.cloud.quotas["access"] = 2
    provider = rig.open()
    assert await read(provider, "db") == b"kt-canary-db"
    now[0] = 645.0
    found = await get(provider, "db")
    assert isinstance(found, Throttled)
    assert found.retry_after == 15.0
    now[0] = 660.0
    assert await read(provider, "db") == b"kt-canary-db"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("NOT_FOUND", NotFound),
        ("PERMISSION_DENIED", AccessDenied),
        ("UNAUTHENTICATED", AuthFailed),
        ("RESOURCE_EXHAUSTED", Throttled),
        ("INVALID_ARGUMENT", Invalid),
        ("UNAVAILABLE", Unavailable),
        ("INTERNAL", Unavailable),
        ("UNKNOWN", Unavailable),
        ("DEADLINE_EXCEEDED", Unavailable),
        ("UNIMPLEMENTED", Unavailable),
    ],
)
async def test_each_status_has_its_error_without_the_servers_words(rig: Rig, status: str, kind: type[ProviderError]) -> None:
    provider = rig.open()
    await read(provider, "db")
    with rig.cloud.troubled(status):
        found = await get(provider, "db")
    assert isinstance(found, kind)
    assert PROSE not in all_that_hangs_on(found)


async def test_what_is_missing_or_denied_is_named_with_its_project_who_asked_and_the_right_to_it(rig: Rig) -> None:
    rig.cloud.grants = [(READER, "accessor", "db")]
    rig.seed("bank", b"kt-canary-bank")
    provider = rig.open()
    denied = str(await get(provider, "bank"))
    assert denied.startswith("Google refuses the key in Secret/shop/")
    assert denied.endswith(
        " the key bank of the project shop; grant it secretmanager.versions.access, as in the role Secret Manager Secret Accessor"
    )
    assert str(await get(provider, "db", "99")) == "Secret Manager does not have the key db@99 of the project shop"


async def test_nothing_is_asked_again_by_the_client_itself(rig: Rig) -> None:
    provider = rig.open()
    with rig.cloud.troubled("UNAVAILABLE"):
        assert isinstance(await get(provider, "db"), Unavailable)
    with rig.cloud.troubled("RESOURCE_EXHAUSTED"):
        assert isinstance(await get(provider, "db"), Throttled)
    assert rig.cloud.count("AccessSecretVersion") == 2


async def test_the_client_logs_neither_values_nor_tokens_however_much_is_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await read(rig.open(), "db")
    assert "kt-canary" not in caplog.text
    assert not any(record.name.startswith("google") for record in caplog.records)


async def test_a_server_that_comes_back_is_asked_at_once(rig: Rig) -> None:
    provider = rig.open()
    await read(provider, "db")
    await rig.leave()
    assert isinstance(await get(provider, "db"), Unavailable)
    await rig.come_back()
    assert await read(provider, "db") == b"kt-canary-db"


async def test_a_close_ends_what_is_under_way(rig: Rig) -> None:
    provider = rig.open()
    await read(provider, "db")
    with rig.cloud.silent():
        asking = asyncio.create_task(get(provider, "db"))
        while rig.cloud.calls[-1].name.endswith("current"):  # noqa: ASYNC110  # the server is in another loop
            await asyncio.sleep(0.01)
        await provider.close()
        assert isinstance(await asking, Unavailable)


async def test_a_server_that_has_a_strange_certificate_gets_no_token(rig: Rig) -> None:
    provider = rig.open()
    (rig.folder / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    assert isinstance(await get(provider, "db"), Unavailable)
    assert rig.cloud.calls == []
    assert rig.services.asked == []


async def test_more_versions_than_anybody_keeps_are_not_gathered(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        rig.seed("db", f"kt-canary-{number}".encode())
    monkeypatch.setattr("keyturn.providers.google_changes._PAGE", 2)
    assert len(await rig.writer().versions("db")) >= 5
    monkeypatch.setattr("keyturn.providers.google_changes.MOST", 2)
    with pytest.raises(Invalid, match="more than 2 versions"):
        await rig.writer().versions("db")


def surroundings(rig: Rig) -> Surroundings:
    return Surroundings(Reach(), AddressRules(), rig, google=rig.places)


async def test_the_registry_builds_a_reader_and_a_writer(rig: Rig) -> None:
    config = GoogleConfig("shop", rig.key_login())
    reading = build(ProviderOrder(config), kind=Kind.SECRET_PROVIDER, around=surroundings(rig), namespace="shop")
    writing = build(ProviderOrder(config, Access.READ_WRITE), kind=Kind.SECRET_PROVIDER, around=surroundings(rig), namespace="shop")
    assert not isinstance(reading, Writer)
    assert isinstance(writing, Writer)
    assert Cap.CAS in writing.caps
    for each in (reading, writing):
        assert (await each.get_many([SourceRef("db")]))[SourceRef("db")]
        await each.close()


def test_the_operators_own_identity_is_not_for_a_tenant() -> None:
    around = Surroundings(Reach(), AddressRules(), None)  # type: ignore[arg-type]  # refused before it is asked
    with pytest.raises(Rejected, match="for a ClusterSecretProvider only"):
        build(ProviderOrder(GoogleConfig("shop", AmbientLogin())), kind=Kind.SECRET_PROVIDER, around=around, namespace="shop")
