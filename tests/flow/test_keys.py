"""The fingerprint key, when it is another one than before (cluster rule 16, and crypto-and-audit.md, Keys)."""

import pytest

from builders import managed, msec, order, secret, staged, target_ref
from keyturn.decide.fingerprint import key_id
from keyturn.testing.world import KEY, OTHER_KEY, Stage

APP, SECRET = msec(), target_ref()


async def stand(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.tape.rewind()


@staged
async def test_without_a_trusted_key_no_secret_is_written_and_nothing_is_said(stage: Stage) -> None:
    stage.world.fingerprint.problem = "FingerprintKeyChanged: restore it"
    await stand(stage)
    await stage.passes(600)
    assert stage.tape.writes == []
    assert stage.events.of(APP) == []
    stage.world.fingerprint.problem = ""
    await stage.passes(60)
    assert stage.reason(APP) == "Synced"


@staged
async def test_another_key_alone_changes_nothing(stage: Stage) -> None:
    await stand(stage)
    stage.key = OTHER_KEY
    await stage.restart()
    await stage.passes(2 * 3600)
    assert stage.tape.writes == []
    assert key_id(stage.status(APP).revision) == KEY.id


@pytest.mark.parametrize("foreign", [False, True], ids=["our keys alone", "beside keys of others"])
@staged
async def test_equal_data_keep_their_revision_when_the_key_is_another(stage: Stage, *, foreign: bool) -> None:
    await stand(stage)
    if foreign:
        stage.cluster.touch(SECRET, "kubectl", {("data", "theirs"): secret("kt-canary-t")})
    before = stage.status(APP)
    stage.key = OTHER_KEY
    await stage.restart()
    stage.cluster.edit(APP, order=order(interval_s=60.0))
    await stage.passes(1)
    assert stage.tape.reads == ["read Secret/shop/app-db"]
    after = stage.status(APP)
    assert (after.revision, after.last_change) == (before.revision, before.last_change)


@staged
async def test_the_next_real_change_takes_the_new_key(stage: Stage) -> None:
    await stand(stage)
    stage.key = OTHER_KEY
    await stage.restart()
    stage.source(password="kt-canary-2")
    await stage.passes(2 * 3600)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}
    assert key_id(stage.status(APP).revision) == OTHER_KEY.id
    stage.tape.rewind()
    await stage.passes(2 * 3600)
    assert stage.tape.reads == [], "once is enough"


@pytest.mark.parametrize("loss", ["deleted", "edited"])
@staged
async def test_a_secret_is_repaired_also_when_the_key_is_another(stage: Stage, loss: str) -> None:
    await stand(stage)
    stage.key = OTHER_KEY
    await stage.restart()
    if loss == "deleted":
        stage.cluster.vanish(SECRET)
    else:
        stage.cluster.touch(SECRET, "kubectl", {("data", "password"): secret("kt-canary-e")})
    await stage.passes(5)
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert stage.reason(APP) == "Synced"


@staged
async def test_a_renamed_target_keeps_its_revision_when_the_key_is_another(stage: Stage) -> None:
    await stand(stage)
    before = stage.status(APP).revision
    stage.key = OTHER_KEY
    await stage.restart()
    stage.cluster.edit(APP, order=order(target="new"))
    await stage.passes(5)
    assert stage.data(target_ref("new")) == {"password": "kt-canary-1"}
    assert stage.status(APP).revision == before
