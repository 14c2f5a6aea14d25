"""Which Secret is ours, and what becomes of it when the spec changes."""

import pytest

from builders import managed, msec, order, secret, staged, target_ref
from keyturn.flow.workers import LEFT_DELAY_S
from keyturn.model.errors import ClusterError, Forbidden, Unprocessable
from keyturn.model.ids import MANAGED_LABEL, OWNER_ANNOTATION
from keyturn.model.lease import MARGIN_S
from keyturn.model.order import CreationPolicy
from keyturn.model.plan import Owner
from keyturn.testing.fields import FakeSecret, Path
from keyturn.testing.world import Stage

APP, SECRET = msec(), target_ref()
THEIRS: dict[Path, object] = {
    ("type", ""): "Opaque",
    ("data", "theirs"): secret("kt-canary-t"),
    ("data", "password"): secret("kt-canary-p"),
}


def foreign(stage: Stage, **more: Owner) -> FakeSecret:
    owners: dict[Path, object] = {("owners", uid): owner for uid, owner in more.items()}
    return stage.cluster.place(SECRET, "kubectl", THEIRS | owners)


@staged
async def test_a_foreign_secret_is_not_touched(stage: Stage) -> None:
    version = foreign(stage).version
    stage.cluster.put(managed())
    stage.start()
    await stage.passes(600)
    assert stage.cluster.secrets[SECRET].version == version
    assert stage.reason(APP) == "TargetNotOwned"
    assert stage.tape.only("apply", "strip", "delete") == []
    assert stage.events.reasons == ["TargetNotOwned"]
    assert len(stage.tape.only("status")) == 1


@staged
async def test_a_foreign_secret_with_our_label_is_not_touched(stage: Stage) -> None:
    foreign(stage)
    stage.cluster.touch(SECRET, "kubectl", {("labels", MANAGED_LABEL): "true", ("annotations", OWNER_ANNOTATION): "app-db"})
    version = stage.cluster.secrets[SECRET].version
    stage.cluster.put(managed())
    stage.start()
    await stage.passes(600)
    assert (stage.cluster.secrets[SECRET].version, stage.reason(APP)) == (version, "TargetNotOwned")


@staged
async def test_a_name_that_becomes_free_is_taken(stage: Stage) -> None:
    foreign(stage)
    stage.cluster.put(managed())
    stage.start()
    await stage.passes(5)
    stage.cluster.vanish(SECRET)
    await stage.passes(120)
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert stage.reason(APP) == "Synced"


@pytest.mark.parametrize("policy", CreationPolicy)
@staged
async def test_adoption_takes_over_and_keeps_what_others_hold(stage: Stage, policy: CreationPolicy) -> None:
    uid = foreign(stage).uid
    stage.cluster.put(managed("app-db", order(adopt=True, creation=policy)))
    stage.start()
    await stage.passes(5)
    assert stage.data(SECRET) == {"theirs": "kt-canary-t", "password": "kt-canary-1"}
    assert stage.cluster.secrets[SECRET].uid == uid
    assert stage.reason(APP) == "Synced"
    assert stage.events.reasons == ["Adopted"]
    assert ("Orphan" in stage.events.posted[0][2]) is (policy is CreationPolicy.OWNER)
    stage.tape.rewind()
    await stage.restart()
    await stage.quiet()
    assert stage.tape.writes == []


@staged
async def test_a_controllers_secret_is_not_adopted(stage: Stage) -> None:
    version = foreign(stage, eso=Owner("ExternalSecret", "eso-db", "eso", controller=True)).version
    stage.cluster.put(managed("app-db", order(adopt=True)))
    stage.start()
    await stage.passes(600)
    assert (stage.cluster.secrets[SECRET].version, stage.reason(APP)) == (version, "TargetNotOwned")
    assert "ExternalSecret eso-db" in stage.events.posted[0][2]


async def two(stage: Stage, **aim: object) -> None:
    stage.cluster.put(managed("first", order(target="app-db", **aim)))  # type: ignore[arg-type]  # fields of a Target
    stage.start()
    await stage.quiet()
    stage.cluster.put(managed("second", order(target="app-db", adopt=True)))
    await stage.passes(5)


@staged
async def test_the_later_of_two_that_want_one_secret_gets_a_conflict(stage: Stage) -> None:
    await two(stage)
    assert (stage.reason(msec("first")), stage.reason(msec("second"))) == ("Synced", "TargetConflict")
    ready = stage.status(msec("second")).condition("Ready")
    assert ready is not None
    assert "ManagedSecret first" in ready.message
    stage.tape.rewind()
    await stage.passes(3 * 3600)
    assert stage.tape.writes == []


@staged
async def test_the_later_takes_over_when_the_first_is_gone(stage: Stage) -> None:
    await two(stage)
    stage.cluster.remove(msec("first"))
    await stage.passes(120)
    assert stage.reason(msec("second")) == "Synced"
    assert stage.cluster.secrets[SECRET].annotations[OWNER_ANNOTATION] == "second"


@staged
async def test_an_orphan_of_a_gone_owner_is_adopted_only_when_asked(stage: Stage) -> None:
    await two(stage, creation=CreationPolicy.ORPHAN)
    stage.cluster.edit(msec("second"), order=order(target="app-db"))
    stage.cluster.remove(msec("first"))
    await stage.passes(120)
    assert stage.reason(msec("second")) == "TargetNotOwned"
    stage.cluster.edit(msec("second"), order=order(target="app-db", adopt=True))
    await stage.passes(5)
    assert stage.reason(msec("second")) == "Synced"


@staged
async def test_a_new_type_is_a_deletion_and_a_creation_and_is_told(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    uid = stage.cluster.secrets[SECRET].uid
    stage.tape.rewind()
    stage.cluster.edit(APP, order=order(type="kubernetes.io/basic-auth"))
    await stage.passes(5)
    made = stage.cluster.secrets[SECRET]
    assert made.uid != uid
    assert made.type == "kubernetes.io/basic-auth"
    assert stage.events.reasons == ["TypeChanged"]
    target = stage.status(APP).target
    assert target is not None
    assert target.uid == made.uid
    assert stage.tape.writes == [
        "apply Secret/shop/app-db",
        "delete Secret/shop/app-db",
        "create Secret/shop/app-db",
        "status ManagedSecret/shop/app-db",
    ]


@pytest.mark.parametrize(
    ("verb", "refusal", "reason"),
    [
        pytest.param("apply", Unprocessable("x", causes=("type", "data[password]")), "SourceInvalid", id="by its content"),
        pytest.param("rehearse", Forbidden("policy"), "Progressing", id="by a policy, at the rehearsal"),
    ],
)
@staged
async def test_a_secret_whose_new_type_would_be_refused_stays(stage: Stage, verb: str, refusal: ClusterError, reason: str) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    before = stage.cluster.secrets[SECRET]
    stage.cluster.fail(verb, refusal, times=3)
    stage.cluster.edit(APP, order=order(type="kubernetes.io/basic-auth"))
    await stage.quiet()
    assert stage.cluster.secrets[SECRET] is before
    assert stage.reason(APP) == reason
    await stage.passes(600)
    assert stage.cluster.secrets[SECRET].type == "kubernetes.io/basic-auth"


@staged
async def test_no_secret_is_deleted_for_a_new_type_with_too_little_of_the_lease_left_to_make_it_anew(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    before = stage.cluster.secrets[SECRET]
    stage.fence.left_s = MARGIN_S / 2
    stage.cluster.edit(APP, order=order(type="kubernetes.io/basic-auth"))
    await stage.passes(LEFT_DELAY_S * 3)
    assert stage.cluster.secrets[SECRET] is before
    assert stage.tape.only("delete") == []
    stage.fence.left_s = MARGIN_S
    await stage.passes(LEFT_DELAY_S * 2)
    assert stage.cluster.secrets[SECRET].type == "kubernetes.io/basic-auth"


@staged
async def test_a_new_type_is_refused_where_others_keep_data(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.cluster.touch(SECRET, "kubectl", {("data", "theirs"): secret("kt-canary-t")})
    stage.cluster.edit(APP, order=order(type="kubernetes.io/basic-auth"))
    await stage.passes(5)
    assert stage.reason(APP) == "TargetNotOwned"
    assert stage.data(SECRET) == {"theirs": "kt-canary-t", "password": "kt-canary-1"}


@staged
async def test_a_new_target_name_retires_the_old_secret_after_the_new_one_stands(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.tape.rewind()
    stage.cluster.edit(APP, order=order(target="new"))
    await stage.passes(5)
    assert set(stage.cluster.secrets) == {target_ref("new")}
    assert stage.tape.writes == ["create Secret/shop/new", "delete Secret/shop/app-db", "status ManagedSecret/shop/app-db"]


@staged
async def test_the_old_secret_stays_while_the_new_one_cannot_be_made(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.cluster.place(target_ref("new"), "kubectl", THEIRS)
    stage.cluster.edit(APP, order=order(target="new"))
    await stage.passes(600)
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert stage.reason(APP) == "TargetNotOwned"
    stage.cluster.vanish(target_ref("new"))
    await stage.passes(120)
    assert set(stage.cluster.secrets) == {target_ref("new")}


@staged
async def test_the_old_secret_of_an_orphan_stays(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order(creation=CreationPolicy.ORPHAN)))
    stage.start()
    await stage.quiet()
    stage.cluster.edit(APP, order=order(target="new", creation=CreationPolicy.ORPHAN))
    await stage.passes(5)
    assert set(stage.cluster.secrets) == {SECRET, target_ref("new")}


@staged
async def test_the_old_secret_is_retired_also_without_our_label(stage: Stage) -> None:
    stage.cluster.put(managed())
    await stage.settle(APP)
    stage.cluster.edit(APP, order=order(target="new"))
    stage.cluster.touch(SECRET, "kubectl", {("labels", MANAGED_LABEL): None})
    stage.start()
    await stage.passes(5)
    assert set(stage.cluster.secrets) == {target_ref("new")}


@staged
async def test_orphan_takes_our_reference_off_and_owner_puts_it_back(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.cluster.touch(SECRET, "kubectl", {("owners", "x"): Owner("ConfigMap", "x", "x")})
    stage.cluster.edit(APP, order=order(creation=CreationPolicy.ORPHAN))
    await stage.passes(5)
    assert [o.uid for o in stage.cluster.secrets[SECRET].owners] == ["x"]
    stage.cluster.edit(APP, order=order())
    await stage.passes(5)
    assert {o.uid for o in stage.cluster.secrets[SECRET].owners} == {"x", "uid-of-app-db"}
    assert stage.reason(APP) == "Synced"
    assert stage.events.posted == []
