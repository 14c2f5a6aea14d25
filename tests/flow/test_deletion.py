"""Deletion: the garbage collector's work alone, and never a ghost (cluster rules 12, 13)."""

from dataclasses import replace

import pytest

from builders import managed, msec, order, staged, target_ref
from keyturn.model.order import CreationPolicy
from keyturn.testing.world import Stage

APP, SECRET = msec(), target_ref()
ORPHAN = CreationPolicy.ORPHAN


async def stand(stage: Stage, **aim: object) -> None:
    stage.cluster.put(managed("app-db", order(**aim)))  # type: ignore[arg-type]  # fields of a Target
    stage.start()
    await stage.quiet()
    stage.tape.rewind()


@staged
async def test_a_deleted_object_is_forgotten_without_a_request(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.remove(APP)
    await stage.passes(7200)
    assert SECRET not in stage.cluster.secrets
    assert stage.tape.writes == []
    assert APP not in stage.world.memories


@staged
async def test_an_object_that_is_being_deleted_is_left_alone(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.edit(APP, deleting=True)
    stage.cluster.vanish(SECRET)
    await stage.passes(7200)
    assert stage.tape.writes == []


@staged
async def test_a_secret_is_not_made_anew_for_an_owner_that_is_gone_while_the_cache_lags(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.is_lagging = True
    stage.cluster.remove(APP)
    stage.cluster._seen.pop(SECRET)
    for _ in range(38):
        stage.world.queue.add(APP)
        await stage.quiet()
    assert SECRET not in stage.cluster.secrets
    assert stage.tape.only("create") == []


@staged
async def test_a_secret_is_not_made_anew_for_a_successor_of_its_owner(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.is_lagging = True
    stage.cluster.remove(APP)
    stage.cluster.put(managed(uid="uid-successor"))
    stage.cluster._seen.pop(SECRET)
    stage.world.queue.add(APP)
    await stage.quiet()
    assert stage.tape.only("create") == []
    stage.cluster.is_lagging = False
    stage.cluster.put(managed(uid="uid-successor"))
    await stage.passes(1)
    assert [o.uid for o in stage.cluster.secrets[SECRET].owners] == ["uid-successor"]


@staged
async def test_an_orphan_cascade_keeps_the_secret_for_good(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.is_lagging = True
    stage.cluster.remove(APP, cascade="orphan")
    stage.cluster._seen[SECRET] = stage.cluster.secrets[SECRET].live()
    stage.world.queue.add(APP)
    await stage.quiet()
    assert stage.cluster.secrets[SECRET].owners == ()
    assert stage.tape.writes == []
    stage.cluster.is_lagging = False
    stage.cluster._tell_object(APP)
    await stage.passes(7200)
    assert SECRET in stage.cluster.secrets
    assert stage.tape.writes == []


@staged
async def test_a_new_value_never_reaches_an_orphan_that_our_watches_still_show_as_owned(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.is_lagging = True
    stage.cluster.remove(APP, cascade="orphan")
    stage.source(password="kt-canary-2")
    await stage.passes(7200)
    assert stage.tape.only("apply") == ["apply Secret/shop/app-db"]
    assert stage.data(SECRET) == {"password": "kt-canary-1"}


@staged
async def test_an_orphan_stays_and_its_successor_takes_it_back(stage: Stage) -> None:
    await stand(stage, creation=ORPHAN)
    uid = stage.cluster.secrets[SECRET].uid
    stage.cluster.remove(APP)
    await stage.passes(7200)
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    stage.cluster.put(managed("app-db", order(creation=ORPHAN), uid="uid-successor"))
    await stage.quiet()
    assert stage.reason(APP) == "Synced"
    assert stage.cluster.secrets[SECRET].uid == uid


@staged
async def test_a_deletion_in_the_middle_of_a_sync_leaves_no_ghost(stage: Stage) -> None:
    stage.cluster.put(managed())
    answer = stage.cluster.hold("create")
    stage.start()
    await stage.until(lambda: SECRET in stage.cluster.secrets)
    stage.cluster.remove(APP)
    answer.set()
    await stage.passes(7200)
    assert SECRET not in stage.cluster.secrets
    assert len(stage.tape.only("create")) == 1
    assert stage.audit.open_intents == []


@staged
async def test_a_restart_after_a_deletion_leaves_the_orphan_alone(stage: Stage) -> None:
    await stand(stage, creation=ORPHAN)
    stage.cluster.remove(APP)
    await stage.restart()
    await stage.passes(7200)
    assert SECRET in stage.cluster.secrets
    assert stage.tape.writes == []


@pytest.mark.parametrize("count", [50])
@staged
async def test_fifty_deletions_beside_refreshes_leave_no_ghost(stage: Stage, count: int) -> None:
    for n in range(2 * count):
        stage.cluster.put(managed(f"app-{n:03}", order(target=f"app-{n:03}", interval_s=60.0)))
    stage.start(workers=4)
    await stage.quiet()
    for n in range(count):
        stage.source(password=f"kt-canary-{n}")
        stage.cluster.remove(msec(f"app-{n:03}"))
        await stage.passes(7)
    await stage.passes(120)
    assert {ref.name for ref in stage.cluster.secrets} == {f"app-{n:03}" for n in range(count, 2 * count)}


@staged
async def test_a_stale_object_applies_to_no_successor_of_its_secret(stage: Stage) -> None:
    await stand(stage)
    held = stage.cluster.secrets[SECRET]
    stage.cluster.is_lagging = True
    stage.cluster.vanish(SECRET)
    stage.cluster.place(SECRET, "kubectl", {("data", "theirs"): held.data["password"]})
    stage.cluster.is_lagging = False
    stage.cluster._seen[SECRET] = replace(held.live(), managers={})
    stage.world.queue.add(APP)
    await stage.passes(5)
    assert stage.data(SECRET) == {"theirs": "kt-canary-1"}
    assert stage.reason(APP) == "TargetNotOwned"
