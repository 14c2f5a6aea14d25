"""Writes to Vault: what other readers see of them, and which rights they take."""

import itertools
import re
from pathlib import Path

import pytest

from bao_admin import BaoError
from contract.answers import get
from contract.files import all_that_hangs_on
from contract.vault_writers import KEY, NEW, NEWER, OLD, TOKENS, WRITES, count, opened, stored, value
from contract.vaults import Rig, password
from keyturn.model.errors import AccessDenied, Conflict, Invalid, NotFound, Unavailable
from keyturn.model.material import CURRENT, PENDING, PREVIOUS, Cap
from keyturn.model.sensitive import Sensitive
from keyturn.providers.vault_names import WAITING
from keyturn.providers.vault_writer import MOST_BYTES, VaultWriter


async def test_what_waits_is_seen_by_nobody_else_and_leaves_no_copy_once_it_is_promoted(rig: Rig, writing: VaultWriter) -> None:
    await writing.put(KEY, OLD, token=TOKENS[0])
    name = await writing.put(KEY, NEW, token=TOKENS[1], stage=PENDING)
    assert (stored(rig), count(rig)) == ("kt-canary-old", 1)
    assert [meta.key async for meta in writing.list()] == [KEY]
    assert password(await get(writing, KEY, name)) == password(await get(writing, KEY, PENDING)) == "kt-canary-new"
    assert isinstance(await get(writing, f"{WAITING}/{KEY}"), Invalid)
    await writing.promote(KEY, name)
    assert stored(rig) == "kt-canary-new"
    assert isinstance(await get(writing, KEY, PENDING), NotFound)
    with pytest.raises(BaoError, match="destroyed"):
        rig.bao.get(rig.mount, f"{WAITING}/{KEY}")
    assert [password(await get(writing, KEY, each)) for each in (name, CURRENT, PREVIOUS)] == [
        "kt-canary-new",
        "kt-canary-new",
        "kt-canary-old",
    ]


async def test_the_name_of_what_waited_and_its_number_are_both_current(writing: VaultWriter) -> None:
    await writing.put(KEY, OLD, token=TOKENS[0])
    name = await writing.put(KEY, NEW, token=TOKENS[1], stage=PENDING, expect="1")
    await writing.promote(KEY, name)
    for expect, token in ((name, TOKENS[2]), ("3", TOKENS[3])):
        await writing.put(KEY, NEWER, token=token, expect=expect)
    with pytest.raises(Conflict):
        await writing.put(KEY, OLD, token=TOKENS[4], expect=name)
    with pytest.raises(Conflict):
        await writing.put(KEY, OLD, token=TOKENS[4], expect="4x")
    assert [each.name for each in await writing.versions(KEY)] == ["4", "3", name, "1"]


async def test_a_way_back_goes_by_the_old_name(writing: VaultWriter) -> None:
    first = await writing.put(KEY, OLD, token=TOKENS[0])
    await writing.put(KEY, NEW, token=TOKENS[1])
    for _ in range(2):
        await writing.promote(KEY, first)
    assert {stage: each.name for each in await writing.versions(KEY) for stage in each.stages} == {CURRENT: first, PREVIOUS: "2"}
    assert len(await writing.versions(KEY)) == 2


async def test_custom_metadata_of_others_stays_and_ours_is_no_tag(rig: Rig, writing: VaultWriter) -> None:
    rig.bao.put(rig.mount, KEY, {"password": "kt-canary-before"})
    rig.bao.describe(rig.mount, KEY, team="shop")
    for token in TOKENS[:40]:
        await writing.put(KEY, NEW, token=token)
    custom = rig.bao.call("GET", f"{rig.mount}/metadata/{KEY}")["data"]["custom_metadata"]
    assert custom["team"] == "shop"
    assert len(custom) < 32
    assert not any(TOKENS[39] in text or "kt-canary" in text for text in [*custom, *custom.values()])
    [meta] = [meta async for meta in writing.list()]
    assert meta.tags == {"team": "shop"}


async def test_a_put_is_known_for_as_long_as_twenty_others(writing: VaultWriter) -> None:
    first = await writing.put(KEY, OLD, token=TOKENS[0])
    for token in TOKENS[1:20]:
        await writing.put(KEY, NEW, token=token)
    assert await writing.put(KEY, OLD, token=TOKENS[0]) == first
    assert password(await get(writing, KEY)) == "kt-canary-new"


async def test_only_what_the_last_deletion_took_comes_back(rig: Rig, writing: VaultWriter) -> None:
    rig.bao.put(rig.mount, KEY, {"password": "kt-canary-first"})
    rig.bao.delete(rig.mount, KEY, [1])
    rig.bao.call("POST", f"{rig.mount}/metadata/{KEY}", {"custom_metadata": {"team": "shop"}})
    deleted = rig.bao.call("GET", f"{rig.mount}/metadata/{KEY}")["data"]["versions"]["1"]["deletion_time"]
    assert deleted
    await writing.put(KEY, OLD, token=TOKENS[0])
    await writing.put(KEY, NEW, token=TOKENS[1])
    await writing.delete(KEY)
    await writing.undelete(KEY)
    assert password(await get(writing, KEY, "2")) == "kt-canary-old"
    assert password(await get(writing, KEY)) == "kt-canary-new"


async def test_a_purge_keeps_the_numbers(rig: Rig, writing: VaultWriter) -> None:
    names = []
    for token in TOKENS[:3]:
        names.append(await writing.put(KEY, NEW, token=token))
        await writing.put(KEY, NEW, token=token, stage=PENDING)
        await writing.delete(KEY, purge=True)
    assert names == ["1", "2", "3"]
    about = rig.bao.call("GET", f"{rig.mount}/metadata/{KEY}")["data"]["versions"]
    ahead = rig.bao.call("GET", f"{rig.mount}/metadata/{WAITING}/{KEY}")["data"]["versions"]
    assert all(version["destroyed"] for version in (*about.values(), *ahead.values()))


@pytest.mark.parametrize(
    "data", [b"kt-canary", b'"kt-canary"', b'["kt-canary"]', b'{"a": "kt-canary"', b'{"a":1}, "options":{}', b"\xff", b""]
)
async def test_what_is_no_object_is_refused_before_any_call(rig: Rig, writing: VaultWriter, data: bytes) -> None:
    mark = rig.bao.mark()
    with pytest.raises(Invalid) as told:
        await writing.put(KEY, Sensitive(data), token=TOKENS[0])
    with pytest.raises(Invalid):
        await writing.put(KEY, value("x" * MOST_BYTES), token=TOKENS[0])
    with pytest.raises(Invalid):
        await writing.put(KEY, NEW, token=TOKENS[0], tags={"team": "shop"})
    assert "kt-canary" not in all_that_hangs_on(told.value)
    assert not rig.bao.asked(mark, path=rig.mount)


async def test_the_largest_value_is_taken(rig: Rig, writing: VaultWriter) -> None:
    most = value("x" * (MOST_BYTES - len(value("").reveal())))
    assert len(most) == MOST_BYTES
    await writing.put(KEY, most, token=TOKENS[0])
    assert len(stored(rig)) > MOST_BYTES - 100


async def test_engine_1_is_not_written(old_rig: Rig) -> None:
    old_rig.bao.policy(old_rig.policy, {f"{old_rig.mount}/*": WRITES})
    writing, mark = opened(old_rig), old_rig.bao.mark()
    assert not writing.caps & (Cap.PUT | Cap.CAS | Cap.DELETE | Cap.UNDELETE | Cap.STAGE)
    for call in (
        writing.put(KEY, NEW, token=TOKENS[0]),
        writing.promote(KEY, "1"),
        writing.delete(KEY),
        writing.undelete(KEY),
        writing.versions(KEY),
    ):
        with pytest.raises(Invalid, match="version 2"):
            await call
    assert not old_rig.bao.asked(mark)


# -- rights ---------------------------------------------------------------------------------------------------------------------


async def test_the_policy_of_the_page_is_enough_and_no_right_of_it_too_many(rig: Rig) -> None:
    page = (Path(__file__).parents[2] / "docs" / "providers" / "vault.md").read_text()
    [policy] = [each for each in re.findall(r"```hcl\n(.*?)```", page, re.DOTALL) if "destroy" in each]
    rules = re.findall(r'path "secret/(.*?)" \{.*?capabilities = \[(.*?)\]', policy, re.DOTALL)
    rights = {f"{rig.mount}/{path}": re.findall(r'"(.*?)"', words) for path, words in rules}
    rights |= {path.replace("/shop/", f"/{WAITING}/shop/"): words for path, words in rights.items()}
    rig.bao.policy(rig.policy, rights)
    await story(opened(rig), KEY)
    number = itertools.count(1)
    for path, words in rights.items():
        # To OpenBao a key that is noted is there; Vault may want `create` as well.
        for word in set(words) - ({"create"} if "/data/" in path else set()):
            rig.bao.policy(rig.policy, rights | {path: [other for other in words if other != word] or ["deny"]})
            with pytest.raises(AccessDenied):
                await story(opened(rig), f"shop/k{next(number)}")


async def story(writing: VaultWriter, key: str) -> None:
    """All that a writer can be asked for."""
    try:
        await writing.put(key, OLD, token=TOKENS[0])
        await writing.put(key, NEWER, token=TOKENS[1])
        await writing.put(key, NEWER, token=TOKENS[1])
        for token in TOKENS[2:4]:
            name = await writing.put(key, NEW, token=token, stage=PENDING)
        await writing.promote(key, name)
        await writing.put(key, NEW, token=TOKENS[4], stage=PENDING)
        await writing.delete(key)
        await writing.undelete(key)
        assert [each.stages for each in await writing.versions(key)][:1] == [frozenset({PENDING})]
        await writing.delete(key, purge=True)
    finally:
        await writing.close()


async def test_whoever_has_no_right_to_what_waits_writes_and_deletes_all_the_same(rig: Rig) -> None:
    rig.bao.policy(rig.policy, {f"{rig.mount}/*": WRITES} | {f"{rig.mount}/{act}/{WAITING}/*": ["deny"] for act in ("data", "metadata")})
    writing = opened(rig)
    await writing.put(KEY, OLD, token=TOKENS[0])
    with pytest.raises(AccessDenied):
        await writing.put(KEY, NEW, token=TOKENS[1], stage=PENDING)
    await writing.delete(KEY)
    await writing.undelete(KEY)
    await writing.delete(KEY, purge=True)
    with pytest.raises(NotFound):
        await writing.undelete(KEY)


async def test_after_close_nothing_is_asked(rig: Rig, writing: VaultWriter) -> None:
    await writing.validate()
    await writing.close()
    mark = rig.bao.mark()
    for call in (writing.put(KEY, NEW, token=TOKENS[0]), writing.promote(KEY, "1"), writing.delete(KEY), writing.versions(KEY)):
        with pytest.raises(Unavailable):
            await call
    assert not rig.bao.asked(mark, path=rig.mount)
