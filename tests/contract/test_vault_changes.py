"""What a refresh of many unchanged keys costs a real OpenBao, and that nothing which changes is missed for it."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from builders import msec, provider
from canary import Canary
from contract.vaults import Rig, front, password
from keyturn.decide.refresh import FULL_READ_S
from keyturn.flow.refresher import Refresher
from keyturn.flow.shelf import Answer
from keyturn.model.errors import AccessDenied, Invalid, NotFound
from keyturn.model.ids import ObjectRef
from keyturn.model.material import Cap, SourceRef, Value
from keyturn.model.order import ProviderOrder
from keyturn.providers import vault
from keyturn.providers.guard import REMOTE, Guard
from keyturn.providers.vault_kv import common_folder
from keyturn.testing.clock import FakeClock
from keyturn.testing.records import RecordingAudit, Tape

COUNT = 100
HOUR_S = 3600.0
EVERY = frozenset({HOUR_S})
APP, VAULT = msec(), provider()
KEYS = tuple(f"app/{n:03}" for n in range(COUNT))


class Refreshed:
    """Keys of a rig's engine that one object wants, read once by a refresher, and passes over them when a test says so."""

    def __init__(self, rig: Rig, config: dict[str, Any]) -> None:
        self.rig = rig
        self.woken: list[ObjectRef] = []
        self._config = config
        self.clock = FakeClock(datetime.now(UTC))
        self.refresher = Refresher(self, RecordingAudit(Tape()), self.clock, self.woken.append)

    def open(self, order: ProviderOrder, ref: ObjectRef) -> Guard:
        """As the port `Providers` has it."""
        return Guard(self.rig.open(**self._config), REMOTE)

    def forget(self, ref: ObjectRef) -> None:
        """Nothing was followed."""

    async def begin(self, refs: Collection[SourceRef]) -> None:
        answers = await self.refresher.fetch(VAULT, refs, max_age_s=0.0, who=APP)
        assert all(isinstance(answer, Value) for answer in answers.values())
        self.refresher.want(APP, {VAULT.ref: refs}, HOUR_S)
        for ref in refs:
            self.refresher.shelf(VAULT).note_drawn(ref, APP)

    async def costs(self, after_s: float = HOUR_S) -> tuple[int, int]:
        """One pass, so long after the last: how many surveys and reads it was to the server, and nothing else at all."""
        shelf = self.refresher.shelf(VAULT)
        self.clock.jump(after_s)
        self.woken.clear()
        mark = self.rig.bao.mark()
        await self.refresher._pass(shelf, EVERY)
        asked = self.rig.bao.asked(mark)
        surveys = sum(each.operation == "scan" for each in asked)
        assert {each.operation for each in asked} <= {"scan", "read"}
        return surveys, sum("/data/" in each.path for each in asked)

    def held(self, key: str, version: str = "") -> Answer:
        found = self.refresher.shelf(VAULT).held[SourceRef(key, version)].answer
        assert found is not None
        return found


@asynccontextmanager
async def refreshed(rig: Rig, *more: SourceRef, keys: Collection[str] = KEYS, **config: Any) -> AsyncIterator[Refreshed]:
    made = Refreshed(rig, config)
    await made.begin([*map(SourceRef, keys), *more])
    try:
        yield made
    finally:
        await made.refresher.close()


@pytest.fixture
def full(rig: Rig, canary: Canary) -> Rig:
    for key in KEYS:
        rig.put(key, canary(key))
    return rig


async def test_a_hundred_unchanged_keys_are_one_call_for_each_pass(full: Rig):
    async with refreshed(full) as passes:
        for _ in range(3):
            assert await passes.costs() == (1, 0)
            assert passes.woken == []


async def test_each_changed_key_is_one_read_more(full: Rig, canary: Canary):
    async with refreshed(full) as passes:
        full.put(KEYS[1], value := canary("newer"))
        assert await passes.costs() == (1, 1)
        assert (password(passes.held(KEYS[1])), passes.woken) == (value, [APP])
        full.put(KEYS[2], canary("two"))
        full.put(KEYS[3], canary("three"))
        assert await passes.costs() == (1, 2)
        assert await passes.costs() == (1, 0)


async def test_a_key_that_is_deleted_undeleted_or_destroyed_is_noticed(full: Rig):
    async with refreshed(full) as passes:
        full.bao.delete(full.mount, KEYS[0])
        assert await passes.costs() == (1, 1)
        assert isinstance(passes.held(KEYS[0]), NotFound)
        assert passes.woken == [APP]
        full.bao.undelete(full.mount, KEYS[0], [1])
        assert await passes.costs() == (1, 1)
        assert isinstance(passes.held(KEYS[0]), Value)
        assert await passes.costs() == (1, 0)
        full.bao.destroy(full.mount, KEYS[0], [1])
        assert await passes.costs() == (1, 1)
        assert isinstance(passes.held(KEYS[0]), NotFound)
        full.bao.call("DELETE", f"{full.mount}/metadata/{KEYS[1]}")
        assert await passes.costs() == (1, 2)
        assert isinstance(passes.held(KEYS[1]), NotFound)


async def test_a_key_that_is_made_anew_under_the_same_version_is_noticed(full: Rig, canary: Canary):
    async with refreshed(full) as passes:
        full.bao.call("DELETE", f"{full.mount}/metadata/{KEYS[0]}")
        assert full.put(KEYS[0], value := canary("made anew")) == 1
        assert await passes.costs() == (1, 1)
        assert password(passes.held(KEYS[0])) == value


async def test_a_description_that_changes_is_no_change(full: Rig):
    async with refreshed(full) as passes:
        full.bao.describe(full.mount, KEYS[0], team="shop")
        assert await passes.costs() == (1, 0)


async def test_a_pinned_version_is_read_again_when_it_is_gone_and_not_when_there_are_newer_ones(full: Rig, canary: Canary):
    async with refreshed(full, SourceRef(KEYS[0], "1")) as passes:
        full.put(KEYS[0], canary("newer"))
        assert await passes.costs() == (1, 1)
        assert await passes.costs() == (1, 0)
        full.bao.delete(full.mount, KEYS[0], [1])
        assert await passes.costs() == (1, 1)
        assert isinstance(passes.held(KEYS[0], "1"), NotFound)
        assert isinstance(passes.held(KEYS[0]), Value)


async def test_what_is_to_be_deleted_within_the_minute_is_read(full: Rig, canary: Canary):
    """Whose clock is right about that moment, nobody knows."""
    for key, life in ((KEYS[0], "30s"), (KEYS[1], "30m")):
        full.bao.call("POST", f"{full.mount}/metadata/{key}", {"delete_version_after": life})
        full.put(key, canary(f"short {key}"))
    async with refreshed(full) as passes:
        assert await passes.costs() == (1, 1)
        assert isinstance(passes.held(KEYS[0]), Value)


async def test_where_the_policy_denies_it_each_key_is_read_until_it_allows_it(full: Rig):
    data, details = f"{full.mount}/data/*", f"{full.mount}/detailed-metadata/app/*"
    full.bao.policy(full.policy, {data: ["read"]})
    async with refreshed(full) as passes:
        mark = full.bao.mark()
        await passes.refresher._pass(passes.refresher.shelf(VAULT), EVERY)
        asked = full.bao.asked(mark)
        assert [each.error != "" for each in asked if each.operation == "scan"] == [True]
        assert sum("/data/" in each.path for each in asked) == COUNT
        assert passes.woken == []
        assert await passes.costs(after_s=30) == (0, COUNT)
        full.bao.policy(full.policy, {data: ["read"], details: ["scan"]})
        assert await passes.costs(after_s=31) == (1, 0)


async def test_after_hours_all_is_read(full: Rig):
    async with refreshed(full) as passes:
        assert await passes.costs(FULL_READ_S - 10) == (1, 0)
        assert await passes.costs(11) == (0, COUNT)
        assert await passes.costs() == (1, 0)


async def test_a_list_that_is_too_long_is_not_asked_for_again_and_all_is_read(full: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vault, "LIST_LIMIT", 1000)
    async with refreshed(full) as passes:
        assert await passes.costs() == (1, COUNT)
        assert await passes.costs(after_s=30) == (0, COUNT)


async def test_keys_of_two_folders_are_one_call_of_the_folder_above(full: Rig, canary: Canary):
    full.put("app-2/db", canary("second"))
    async with refreshed(full, SourceRef("app-2/db")) as passes:
        assert await passes.costs() == (1, 0)
        full.put("app-2/db", canary("third"))
        assert await passes.costs() == (1, 1)


async def test_keys_of_two_engines_are_a_call_for_each(full: Rig, canary: Canary):
    other = full.bao.enable_kv(f"{full.mount}-other")
    full.bao.policy(full.policy, {f"{mount}/*": ["read", "scan"] for mount in (full.mount, other)})
    full.bao.put(other, "db", {"password": canary("other")})
    keys = [f"{full.mount}/{key}" for key in KEYS]
    async with refreshed(full, SourceRef(f"{other}/db"), keys=keys, mount="") as passes:
        assert await passes.costs() == (2, 0)
        full.bao.put(other, "db", {"password": canary("newer")})
        assert await passes.costs() == (2, 1)


async def test_a_vault_without_details_is_asked_once_and_then_read_key_by_key(full: Rig):
    """As HashiCorp's answers."""
    warned = {"request_id": "r", "data": None, "warnings": ["Invalid path for a versioned K/V secrets engine."]}
    for status, body in ((405, {"errors": ["unsupported operation"]}), (404, warned)):

        def answer(request: web.Request, status: int = status, body: dict[str, Any] = body) -> web.Response | None:
            return web.json_response(body, status=status) if "detailed-metadata" in request.path else None

        async with front(full.bao, answer) as served, refreshed(full, server=served.url) as passes:
            for _ in range(3):
                assert await passes.costs() == (0, COUNT)
            assert sum("detailed-metadata" in path for _, path, _ in served.asked) == 1
            assert Cap.SURVEY not in passes.refresher.shelf(VAULT).provider.caps


async def test_engine_1_makes_no_surveys(old_rig: Rig, canary: Canary):
    old_rig.put("db", canary("old"))
    provider = old_rig.open()
    assert Cap.SURVEY not in provider.caps
    with pytest.raises(Invalid, match="this engine does not list keys with their versions"):
        await provider.survey([SourceRef("db")])


async def test_a_survey_tells_of_what_is_there_alone_and_of_its_size(full: Rig):
    provider = full.open()
    full.bao.delete(full.mount, KEYS[1])
    there, deleted, missing, newer = SourceRef(KEYS[0]), SourceRef(KEYS[1]), SourceRef("app/none"), SourceRef(KEYS[0], "2")
    survey = await provider.survey([there, deleted, missing, newer])
    assert set(survey.fingerprints) == {there}
    assert (survey.size, survey.calls) == (COUNT, 1)
    read = (await provider.get_many([there]))[there]
    assert isinstance(read, Value)
    assert read.fingerprint == survey.fingerprints[there]
    assert "kt-canary" not in repr(survey)


async def test_a_survey_that_is_denied_or_at_no_engine_says_so(full: Rig):
    full.bao.policy(full.policy, {f"{full.mount}/data/*": ["read"], "nowhere/*": ["scan"]})
    with pytest.raises(AccessDenied, match="Vault refuses this identity the list of keys"):
        await full.open().survey([SourceRef("db")])
    nowhere = full.open(mount="nowhere")
    with pytest.raises(Invalid, match="no key-value engine at nowhere/"):
        await nowhere.survey([SourceRef("db")])
    assert Cap.SURVEY in nowhere.caps


@pytest.mark.parametrize(
    ("keys", "folder"),
    [
        (["db"], ""),
        (["shop/db"], "shop"),
        (["shop/db", "shop/api"], "shop"),
        (["shop/db", "shopping/db"], ""),
        (["a/b/c", "a/b/d/e", "a/b-c/d"], "a"),
        (["a/b/c", "a/b/d/e"], "a/b"),
        (["a/b", "a"], ""),
        (["a/b/c", "d/b/c"], ""),
    ],
)
def test_the_folder_that_holds_all_keys(keys: list[str], folder: str):
    assert common_folder(keys) == folder
