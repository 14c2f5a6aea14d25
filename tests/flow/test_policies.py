"""When an object is read and written: suspension, CreatedOnce, OnChange, interval 0, and requests."""

import asyncio

import pytest

from builders import managed, msec, order, secret, sprov, staged, target_ref
from keyturn.flow.check import wake_users
from keyturn.model.errors import Unavailable
from keyturn.model.ids import MANAGED_LABEL
from keyturn.model.material import SourceRef
from keyturn.model.order import RefreshPolicy
from keyturn.testing.fields import Path
from keyturn.testing.world import Stage

APP, SECRET = msec(), target_ref()
DATA: Path = ("data", "password")
ONCE = RefreshPolicy.CREATED_ONCE


async def stand(stage: Stage, refresh: RefreshPolicy | None = None, interval_s: float = 3600.0) -> None:
    stage.cluster.put(managed("app-db", order(refresh=refresh, interval_s=interval_s)))
    stage.start()
    await stage.quiet()
    assert stage.reason(APP) == "Synced"
    stage.tape.rewind()
    stage.source().calls.clear()


@staged
async def test_suspension_is_one_write_and_then_nothing_moves(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.edit(APP, order=order(suspend=True))
    stage.source(password="kt-canary-2")
    await stage.passes(7200)
    stage.cluster.touch(SECRET, "kubectl", {DATA: secret("kt-canary-edit")})
    await stage.passes(7200)
    assert stage.tape.writes == ["status ManagedSecret/shop/app-db"]
    assert stage.source().calls == []
    assert stage.data(SECRET) == {"password": "kt-canary-edit"}, "drift is not repaired"
    assert stage.reason(APP) == "Synced"
    suspended = stage.status(APP).condition("Suspended")
    assert suspended is not None
    assert (suspended.status, stage.status(APP).generation) == ("True", 2)


@staged
async def test_the_end_of_a_suspension_brings_all_up_to_date(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.edit(APP, order=order(suspend=True))
    await stage.quiet()
    stage.source(password="kt-canary-2")
    stage.cluster.touch(SECRET, "kubectl", {DATA: secret("kt-canary-edit")})
    await stage.passes(60)
    stage.cluster.edit(APP, order=order())
    await stage.passes(1)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}
    assert stage.status(APP).condition("Suspended") is None


@staged
async def test_suspended_from_birth_writes_no_secret(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order(suspend=True)))
    stage.start()
    await stage.passes(60)
    assert SECRET not in stage.cluster.secrets
    ready = stage.status(APP).condition("Ready")
    assert ready is not None
    assert ready.status == "Unknown"


@staged
async def test_created_once_is_never_read_again(stage: Stage) -> None:
    await stand(stage, ONCE)
    stage.source(password="kt-canary-2")
    await stage.passes(100_000)
    await stage.restart()
    await stage.passes(10)
    assert stage.source().calls == []
    assert stage.tape.writes == []


EDITS: dict[str, dict[Path, object]] = {
    "data": {DATA: secret("kt-canary-edit")},
    "label": {("labels", MANAGED_LABEL): None},
    "data and label": {DATA: secret("kt-canary-edit"), ("labels", MANAGED_LABEL): None},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("then", ["nothing", "restart", "spec edited", "request", "made anew"])
@staged
async def test_created_once_leaves_edits_alone(stage: Stage, edit: dict[Path, object], then: str) -> None:
    await stand(stage, ONCE)
    stage.cluster.touch(SECRET, "kubectl", edit)
    stage.source(password="kt-canary-2")
    expected = stage.data(SECRET)
    if then == "restart":
        await stage.restart()
    if then == "spec edited":
        stage.cluster.edit(APP, order=order(refresh=ONCE, interval_s=60.0))
    if then == "request":
        stage.cluster.edit(APP, reconcile_token="please")
    if then == "made anew":
        stage.cluster.secrets[SECRET].update("kubectl", {("owners", "uid-of-app-db"): None})
        stage.cluster.remove(APP)
        stage.cluster.put(managed("app-db", order(refresh=ONCE), uid="uid-successor"))
    await stage.passes(600)
    assert stage.data(SECRET) == expected
    assert stage.tape.only("apply", "strip", "delete") == []
    assert stage.reason(APP) == "Synced"
    stage.tape.rewind()
    await stage.passes(7200)
    assert stage.tape.writes == []


@staged
async def test_created_once_makes_a_deleted_secret_anew_from_the_source(stage: Stage) -> None:
    await stand(stage, ONCE)
    stage.source(password="kt-canary-2")
    await stage.passes(1)
    stage.cluster.vanish(SECRET)
    await stage.passes(10)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}


@pytest.mark.parametrize(
    ("policy", "interval"), [(RefreshPolicy.ON_CHANGE, 60.0), (RefreshPolicy.PERIODIC, 0.0)], ids=["OnChange", "interval 0"]
)
@staged
async def test_what_is_not_periodic_is_read_at_changes_of_the_spec_alone(stage: Stage, policy: RefreshPolicy, interval: float) -> None:
    await stand(stage, policy, interval)
    stage.source(password="kt-canary-2")
    await stage.passes(100_000)
    assert stage.source().calls == []
    stage.cluster.edit(APP, order=order(refresh=policy, interval_s=interval, labels={"x": "y"}))
    await stage.passes(1)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}


@pytest.mark.parametrize(
    ("policy", "interval"), [(RefreshPolicy.ON_CHANGE, 60.0), (RefreshPolicy.PERIODIC, 0.0)], ids=["OnChange", "interval 0"]
)
@staged
async def test_what_is_not_periodic_is_never_stale_and_is_repaired(stage: Stage, policy: RefreshPolicy, interval: float) -> None:
    await stand(stage, policy, interval)
    stage.source().down = Unavailable("no answer")
    await stage.passes(50_000)
    assert stage.tape.writes == []
    stage.source().down = None
    stage.cluster.touch(SECRET, "kubectl", {DATA: None})
    await stage.passes(60)
    assert stage.data(SECRET) == {"password": "kt-canary-1"}


@staged
async def test_a_request_reads_anew_once(stage: Stage) -> None:
    await stand(stage)
    stage.source(password="kt-canary-2")
    await stage.passes(1)
    stage.cluster.edit(APP, reconcile_token="please-1")
    await stage.passes(1)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}
    assert stage.status(APP).handled_reconcile == "please-1"
    assert len(stage.source().calls) == 1
    await stage.restart()
    await stage.passes(1)
    assert len(stage.source().calls) == 1


@staged
async def test_a_request_without_news_is_one_status_write(stage: Stage) -> None:
    await stand(stage)
    await stage.passes(1)
    stage.cluster.edit(APP, reconcile_token="please-1")
    await stage.passes(1)
    assert stage.tape.writes == ["status ManagedSecret/shop/app-db"]


@staged
async def test_a_request_in_an_outage_is_kept_until_it_can_be_answered(stage: Stage) -> None:
    await stand(stage)
    stage.source().down = Unavailable("no answer")
    await stage.passes(1)
    stage.cluster.edit(APP, reconcile_token="please-1")
    await stage.passes(60)
    assert stage.status(APP).handled_reconcile == ""
    stage.source().down = None
    stage.source(password="kt-canary-2")
    await stage.passes(600)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}
    assert stage.status(APP).handled_reconcile == "please-1"


@staged
async def test_a_provider_that_becomes_ready_has_no_first_sync_under_way_read_its_sources_again(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order(interval_s=0)))
    answer = stage.cluster.hold("create")
    job = asyncio.create_task(stage.settle(msec()))
    await stage.until(lambda: stage.tape.only("create"))
    wake_users(sprov(), stage.world, failing_only=True)
    stage.source(password="kt-canary-2")
    await asyncio.sleep(20)
    answer.set()
    await job
    stage.start()
    await stage.passes(60)
    assert stage.data(target_ref()) == {"password": "kt-canary-1"}
    assert stage.source().calls == [(SourceRef("password"),)]
