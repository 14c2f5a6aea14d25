"""What a list of Vault's keys says: by OpenBao's details where they are to be had, else by names alone."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from canary import Canary
from contract.answers import get
from contract.vaults import Rig, front
from keyturn.model.errors import AccessDenied, Invalid
from keyturn.model.material import Cap, Meta, SourceRef, Value
from keyturn.providers import vault
from keyturn.providers.dial import Answer
from keyturn.providers.vault import VaultProvider

KEYS = ("db", "shop/api", "shop/db", "shop/deep/er/key", "shopping")


async def listed(provider: VaultProvider, prefix: str = "") -> dict[str, Meta]:
    found = [meta async for meta in provider.list(prefix)]
    assert len({meta.key for meta in found}) == len(found)
    return {meta.key: meta for meta in found}


def fill(rig: Rig, canary: Canary) -> None:
    for key in KEYS:
        rig.put(key, canary(key))


async def test_details_give_versions_times_and_tags_by_one_call(rig: Rig, canary: Canary):
    fill(rig, canary)
    rig.put("db", canary("newer"))
    rig.bao.describe(rig.mount, "db", team="shop")
    provider = rig.open()
    assert Cap.LIST_HAS_VERSION not in provider.caps
    await provider.validate()
    mark = rig.bao.mark()

    found = await listed(provider)

    assert [each.operation for each in rig.bao.asked(mark)] == ["scan"]
    assert set(found) == set(KEYS)
    assert found["db"].fingerprint.startswith("2 of 20")
    assert found["db"].tags == {"team": "shop"}
    assert found["shop/deep/er/key"].fingerprint.startswith("1 of 20")
    updated = found["db"].updated
    assert updated
    assert abs(updated - datetime.now(UTC)) < timedelta(minutes=5)
    assert Cap.LIST | Cap.LIST_HAS_VERSION in provider.caps
    read = await get(provider, "db")
    assert isinstance(read, Value)
    assert read.version == "2"
    assert read.fingerprint == found["db"].fingerprint


@pytest.mark.parametrize(
    ("prefix", "keys"),
    [
        ("shop", {"shop/api", "shop/db", "shop/deep/er/key", "shopping"}),
        ("shop/", {"shop/api", "shop/db", "shop/deep/er/key"}),
        ("shop/d", {"shop/db", "shop/deep/er/key"}),
        ("shop/deep/er/", {"shop/deep/er/key"}),
        ("db", {"db"}),
        ("none of these", set()),
        ("none/of/these", set()),
    ],
)
async def test_a_prefix_is_a_beginning_of_keys_in_both_ways_to_list(rig: Rig, canary: Canary, prefix: str, keys: set[str]):
    fill(rig, canary)
    assert set(await listed(rig.open(), prefix)) == keys
    rig.bao.policy(rig.policy, {f"{rig.mount}/metadata/*": ["list"]})
    named = await listed(rig.open(), prefix)
    assert set(named) == keys
    assert {meta.fingerprint for meta in named.values()} <= {""}


async def test_a_deleted_key_has_another_fingerprint_and_is_not_enabled(rig: Rig, canary: Canary):
    fill(rig, canary)
    provider = rig.open()
    before = await listed(provider)
    rig.bao.delete(rig.mount, "db")
    rig.bao.destroy(rig.mount, "shop/db", [1])
    after = await listed(provider)
    assert {key for key in KEYS if before[key].fingerprint != after[key].fingerprint} == {"db", "shop/db"}
    assert {key for key in KEYS if not after[key].enabled} == {"db", "shop/db"}
    assert all(meta.enabled for meta in before.values())


async def test_a_server_without_details_is_asked_for_names_folder_by_folder(rig: Rig, canary: Canary):
    """As a HashiCorp Vault answers; it is asked for details once."""
    fill(rig, canary)

    def answer(request: web.Request) -> web.Response | None:
        unsupported = {"errors": ["1 error occurred:\n\t* unsupported operation\n\n"]}
        return web.json_response(unsupported, status=405) if "detailed-metadata" in request.path else None

    async with front(rig.bao, answer) as served:
        provider = rig.open(server=served.url)
        for _ in range(2):
            assert set(await listed(provider)) == set(KEYS)
        assert set(await listed(provider, "shop/de")) == {"shop/deep/er/key"}
        assert Cap.LIST_HAS_VERSION not in provider.caps
        await provider.close()
    paths = [path for _, path, _ in served.asked]
    assert sum("detailed-metadata" in path for path in paths) == 1
    assert sum(path.endswith("?list=true") for path in paths) == 2 * 4 + 3


async def test_engine_1_lists_names(old_rig: Rig, canary: Canary):
    fill(old_rig, canary)
    assert set(await listed(old_rig.open())) == set(KEYS)
    assert set(await listed(old_rig.open(), "shop/")) == {"shop/api", "shop/db", "shop/deep/er/key"}


async def test_without_a_mount_the_prefix_names_the_engine(rig: Rig, canary: Canary):
    fill(rig, canary)
    provider = rig.open(mount="")
    assert set(await listed(provider, f"{rig.mount}/shop/")) == {
        f"{rig.mount}/{key}" for key in ("shop/api", "shop/db", "shop/deep/er/key")
    }
    for prefix in ("", rig.mount):
        with pytest.raises(Invalid, match="begin the prefix with engine/"):
            await listed(provider, prefix)
    [answer] = (await provider.get_many([SourceRef(f"{rig.mount}/shop/db")])).values()
    assert isinstance(answer, Value)


async def test_a_list_that_is_denied_is_access_denied(rig: Rig, canary: Canary):
    fill(rig, canary)
    rig.bao.policy(rig.policy, {f"{rig.mount}/data/*": ["read"]})
    with pytest.raises(AccessDenied, match=f"Vault refuses this identity the list of keys at {rig.mount}/"):
        await listed(rig.open())


async def test_a_list_at_no_engine_is_invalid(rig: Rig):
    rig.bao.policy(rig.policy, {"nowhere/*": ["list", "scan"]})
    with pytest.raises(Invalid, match="no key-value engine at nowhere/"):
        await listed(rig.open(mount="nowhere"))


async def test_an_empty_engine_lists_nothing(rig: Rig, old_rig: Rig):
    assert await listed(rig.open()) == {}
    assert await listed(old_rig.open()) == {}


async def test_a_walk_has_an_end(rig: Rig, canary: Canary, monkeypatch: pytest.MonkeyPatch):
    fill(rig, canary)
    rig.bao.policy(rig.policy, {f"{rig.mount}/metadata/*": ["list"]})
    monkeypatch.setattr(vault, "MOST_FOLDERS", 2)
    with pytest.raises(Invalid, match="ask for a longer prefix"):
        await listed(rig.open())
    monkeypatch.setattr(vault, "LIST_LIMIT", 16)
    with pytest.raises(Invalid, match="too large"):
        await listed(rig.open())


async def test_details_of_ten_thousand_keys_let_others_have_their_turns(rig: Rig):
    """And a detail that nobody asked about is not looked at: it may be as it likes."""
    names = [f"app-{n:05}" for n in range(10_000)]
    version = {"created_time": "2026-03-01T12:00:00Z", "deletion_time": "", "destroyed": False, "version": 1}
    told = {name: {"current_version": 1, "versions": {"1": version}} for name in names} | {"odd": {"versions": 7}}
    body = json.dumps({"request_id": "1-2", "data": {"keys": [*names, "odd"], "key_info": told}})

    def answer(request: web.Request) -> web.Response | None:
        return web.Response(text=body, content_type="application/json") if "detailed-metadata" in request.path else None

    turns, is_over = 0, False

    async def others() -> None:
        nonlocal turns
        while not is_over:
            turns += 1
            await asyncio.sleep(0)

    async with front(rig.bao, answer) as before:
        provider = rig.open(server=before.url)
        ask = provider._session.ask

        async def asked(path: str, **more: Any) -> Answer:
            nonlocal turns
            found = await ask(path, **more)
            turns = 0
            return found

        provider._session.ask = asked  # type: ignore[method-assign]  # turns are counted from the answer on
        waiting = asyncio.create_task(others())
        survey = await provider.survey([SourceRef(name) for name in names])
        is_over = True
        await waiting
    assert (len(survey.fingerprints), survey.size) == (10_000, 10_001)
    assert turns >= 10_000 / 200
