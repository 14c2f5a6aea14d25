"""The Vault provider's reads against a real OpenBao: both engines, versions, what is gone, and what a wrong order is told."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from bao import Bao
from canary import Canary
from contract.answers import get
from contract.vaults import Rig, password
from keyturn.model.errors import AccessDenied, AuthFailed, Invalid, NotFound, ProviderError, Unavailable
from keyturn.model.material import Cap, SourceRef, Value
from keyturn.model.vault import AppRoleLogin, TokenLogin


async def test_a_key_of_engine_2_is_its_object_with_version_and_time(rig: Rig, canary: Canary):
    rig.put("shop/db", canary("old"))
    rig.put("shop/db", new := canary("new"), port=5432, nested={"a": [1, 2]})

    got = await get(rig.open(), "shop/db")

    assert isinstance(got, Value)
    assert json.loads(got.data.reveal()) == {"password": new, "port": 5432, "nested": {"a": [1, 2]}}
    assert b": " not in got.data.reveal()
    assert got.version == "2"
    assert got.updated
    assert abs(got.updated - datetime.now(UTC)) < timedelta(minutes=5)


async def test_a_key_of_engine_1_is_its_object_without_a_version(old_rig: Rig, canary: Canary):
    old_rig.put("shop/db", value := canary("db"))
    provider = old_rig.open()
    got = await get(provider, "shop/db")
    assert password(got) == value
    assert isinstance(got, Value)
    assert (got.version, got.updated) == ("", None)
    assert Cap.VERSIONS not in provider.caps
    assert isinstance(await get(provider, "missing"), NotFound)


async def test_a_version_pins_a_value(rig: Rig, canary: Canary):
    values = [canary(f"v{number}") for number in (1, 2, 3)]
    for value in values:
        rig.put("db", value)
    provider = rig.open()
    for number, value in enumerate(values, 1):
        got = await get(provider, "db", str(number))
        assert password(got) == value
        assert isinstance(got, Value)
        assert got.version == str(number)
    assert password(await get(provider, "db")) == values[-1]
    error = await get(provider, "db", "4")
    assert isinstance(error, NotFound)
    assert "db@4" in str(error)


@pytest.mark.parametrize("version", ["0", "-1", "1.0", "latest", "01", " 1", "1?list=true", "9" * 40, "१"])
async def test_a_version_that_is_no_number_is_told_so(rig: Rig, version: str):
    error = await get(rig.open(), "db", version)
    assert isinstance(error, Invalid)
    assert "a number from 1 on" in str(error)


async def test_engine_1_has_no_versions(old_rig: Rig):
    error = await get(old_rig.open(), "db", "1")
    assert isinstance(error, Invalid)
    assert "leave version out" in str(error)


async def test_a_deleted_version_is_not_found_and_others_stay(rig: Rig, canary: Canary):
    rig.put("db", first := canary("first"))
    rig.put("db", canary("second"))
    provider = rig.open()
    rig.bao.delete(rig.mount, "db")

    error = await get(provider, "db")
    assert isinstance(error, NotFound)
    assert "deleted at Vault (version 2)" in str(error)
    assert isinstance(await get(provider, "db", "2"), NotFound)
    assert password(await get(provider, "db", "1")) == first

    rig.bao.undelete(rig.mount, "db", [2])
    assert isinstance(await get(provider, "db"), Value)


async def test_a_destroyed_version_is_not_found(rig: Rig, canary: Canary):
    rig.put("db", canary("db"))
    rig.bao.destroy(rig.mount, "db", [1])
    error = await get(rig.open(), "db")
    assert isinstance(error, NotFound)
    assert "destroyed" in str(error)


async def test_a_version_whose_deletion_is_still_to_come_is_there(rig: Rig, canary: Canary):
    rig.bao.call("POST", f"{rig.mount}/metadata/db", {"delete_version_after": "1h"})
    rig.put("db", value := canary("db"))
    provider = rig.open()
    assert password(await get(provider, "db")) == value
    [meta] = [meta async for meta in provider.list()]
    assert meta.enabled


async def test_without_a_mount_the_first_part_of_a_key_is_the_engine(rig: Rig, canary: Canary):
    rig.put("shop/db", value := canary("db"))
    provider = rig.open(mount="")
    assert password(await get(provider, f"{rig.mount}/shop/db")) == value
    for key in (rig.mount, f"{rig.mount}/", "/shop/db"):
        error = await get(provider, key)
        assert isinstance(error, Invalid)
        assert "names no engine" in str(error)


@pytest.mark.parametrize("key", ["a b", "ä/ö", "a%2Fb", "a?b=c", "a#b", "a&b", "a+b", "100%", 'q"uote', "back\\slash", "semi;colon"])
async def test_a_key_of_any_characters_is_asked_for_as_it_is(rig: Rig, canary: Canary, key: str):
    rig.bao.put(rig.mount, quote(key), {"password": (value := canary("db"))})
    assert password(await get(rig.open(), key)) == value


@pytest.mark.parametrize("key", ["", "/db", "db/", "a//b", "..", "a/../b", "./a", "a/.", "a\nb", "a\0b"])
async def test_a_key_that_means_another_place_is_never_asked_for(rig: Rig, key: str):
    provider = rig.open()
    await provider.validate()
    mark = rig.bao.mark()
    assert isinstance(await get(provider, key), Invalid)
    assert rig.bao.asked(mark) == []


async def test_a_denied_key_is_access_denied_and_its_neighbours_are_read(rig: Rig, canary: Canary):
    rig.put("open", value := canary("open"))
    rig.put("closed", canary("closed"))
    rig.bao.policy(rig.policy, {f"{rig.mount}/data/open": ["read"]})
    closed, opened = SourceRef("closed"), SourceRef("open")
    provider = rig.open()
    mark = rig.bao.mark()

    answers = await provider.get_many([closed, opened])

    assert isinstance(denied := answers[closed], AccessDenied)
    assert str(denied) == "Vault refuses this identity the key closed"
    assert password(answers[opened]) == value
    assert len(rig.bao.asked(mark, path="auth/token/lookup-self")) == 1
    assert sum("login" in each.path for each in rig.bao.asked(mark)) == 1


async def test_an_identity_that_may_not_look_itself_up_costs_one_more_log_in_and_no_more(rig: Rig, canary: Canary):
    for number in range(8):
        rig.put(f"closed{number}", canary("closed"))
    rig.bao.policy(rig.policy, {f"{rig.mount}/data/open": ["read"]})
    provider = rig.open(rig.approle(token_no_default_policy=True))
    mark = rig.bao.mark()
    for _ in range(3):
        answers = await provider.get_many([SourceRef(f"closed{number}") for number in range(8)])
        assert {type(answer) for answer in answers.values()} == {AccessDenied}
    assert sum("login" in each.path for each in rig.bao.asked(mark)) == 2


async def test_a_wrong_engine_is_told_so_and_is_no_absence(rig: Rig, old_rig: Rig, canary: Canary):
    rig.put("db", canary("db"))
    root = rig.keep("root", rig.bao.root_token)
    for told, provider in (
        ("no key-value engine at nowhere/", rig.open(TokenLogin(root), mount="nowhere")),
        (f"no key-value engine at {rig.mount}/ in the namespace none", rig.open(TokenLogin(root), namespace="none")),
        ("is not of version 1", rig.open(TokenLogin(root), engine=1)),
    ):
        error = await get(provider, "db")
        assert isinstance(error, Invalid)
        assert told in str(error)


async def test_a_namespace_holds_the_engine_and_the_log_in(bao: Bao, rig: Rig, canary: Canary):
    team = bao.namespace(f"team-{rig.name}")
    bao.enable_kv("secret", namespace=team)
    bao.put("secret", "db", {"password": (value := canary("db"))}, namespace=team)
    bao.policy("reads", {"secret/*": ["read"]}, namespace=team)
    bao.enable_auth("approle", namespace=team)
    role_id, secret_id = bao.approle("approle", "shop", ["reads"], namespace=team)
    login = AppRoleLogin("approle", role_id, rig.keep("secret-id", secret_id))
    mark = bao.mark()

    inside = rig.open(login, mount="secret", namespace=team, login_namespace=team)
    await inside.validate()
    assert password(await get(inside, "db")) == value
    assert {each.namespace for each in bao.asked(mark)} == {team}

    outside = await get(rig.open(login, mount="secret", namespace=team), "db")
    assert isinstance(outside, AuthFailed)


async def test_a_log_in_of_the_root_namespace_reads_another_where_its_policy_says_so(bao: Bao, rig: Rig, canary: Canary):
    team = bao.namespace(f"team-{rig.name}")
    bao.enable_kv("secret", namespace=team)
    bao.put("secret", "db", {"password": (value := canary("db"))}, namespace=team)
    bao.policy(rig.policy, {f"{team}/secret/*": ["read"]})
    provider = rig.open(mount="secret", namespace=team)
    await provider.validate()
    assert password(await get(provider, "db")) == value


async def test_validate_needs_no_right_on_any_key(rig: Rig):
    rig.bao.policy(rig.policy, {"nothing/here": ["read"]})
    await rig.open().validate()


async def test_a_closed_provider_is_unavailable_and_gave_its_token_back(rig: Rig, canary: Canary):
    rig.put("db", canary("db"))
    provider = rig.open()
    assert isinstance(await get(provider, "db"), Value)
    mark = rig.bao.mark()
    await provider.close()
    await provider.close()
    assert [each.path for each in rig.bao.asked(mark)] == ["auth/token/revoke-self"]
    for call in (provider.get_many([SourceRef("db")]), provider.get_many([]), provider.get_many([SourceRef("..")]), provider.validate()):
        with pytest.raises(Unavailable, match="closed"):
            await call
    with pytest.raises(ProviderError):
        [meta async for meta in provider.list()]


async def test_the_policies_of_the_page_are_enough(rig: Rig, canary: Canary):
    page = (Path(__file__).parents[2] / "docs" / "providers" / "vault.md").read_text()
    policies = [policy.replace("secret/", f"{rig.mount}/") for policy in re.findall(r"```hcl\n(.*?)```", page, re.DOTALL)]
    to_read, to_scan = policies[0], policies[-1]
    rig.bao.call("PUT", f"sys/policies/acl/{rig.policy}", {"policy": to_read})
    rig.put("shop/db", value := canary("db"))
    rig.put("other/db", canary("other"))
    provider = rig.open()
    await provider.validate()
    assert password(await get(provider, "shop/db")) == value
    assert isinstance(await get(provider, "other/db"), AccessDenied)
    with pytest.raises(AccessDenied):
        await provider.survey([SourceRef("shop/db")])
    rig.bao.call("PUT", f"sys/policies/acl/{rig.policy}", {"policy": to_read + to_scan})
    assert set((await provider.survey([SourceRef("shop/db")])).fingerprints) == {SourceRef("shop/db")}
