"""Other hands on our Secret: repaired, given up, or left alone."""

import pytest

from builders import managed, msec, order, secret, staged, target_ref
from keyturn.decide.conflict import LIMIT
from keyturn.model.errors import Unavailable
from keyturn.model.ids import MANAGED_LABEL
from keyturn.testing.fields import Path
from keyturn.testing.world import Stage

APP, SECRET = msec(), target_ref()
DATA: Path = ("data", "password")


async def stand(stage: Stage) -> None:
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    stage.tape.rewind()
    stage.source().calls.clear()


EDITS: dict[str, dict[Path, object]] = {
    "value edited": {DATA: secret("kt-canary-edit")},
    "key deleted": {DATA: None},
    "label changed": {("labels", "app.kubernetes.io/managed-by"): "Helm"},
    "our label deleted": {("labels", MANAGED_LABEL): None},
    "mark changed": {("annotations", "keyturn.dev/owner"): "other"},
    "mark deleted": {("annotations", "keyturn.dev/owner"): None},
    "revision deleted": {("annotations", "keyturn.dev/revision"): None},
    "reference deleted": {("owners", "uid-of-app-db"): None},
    "all at once": {DATA: None, ("labels", MANAGED_LABEL): None, ("annotations", "keyturn.dev/owner"): None},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@staged
async def test_an_edit_is_undone_from_what_was_read_before(stage: Stage, edit: dict[Path, object]) -> None:
    await stand(stage)
    before = stage.status(APP)
    stage.cluster.touch(SECRET, "kubectl-edit", edit)
    await stage.passes(1)
    held = stage.cluster.secrets[SECRET]
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert held.labels == {MANAGED_LABEL: "true", "app.kubernetes.io/managed-by": "keyturn"}
    assert held.annotations["keyturn.dev/owner"] == "app-db"
    assert [o.uid for o in held.owners] == ["uid-of-app-db"]
    assert stage.source().calls == [], "no provider is asked"
    assert stage.status(APP) == before, "the data did not change, so neither revision nor time of change moves"
    assert stage.events.reasons == ["Repaired"]
    assert len(stage.tape.writes) == 1


@staged
async def test_a_repair_waits_for_no_provider(stage: Stage) -> None:
    await stand(stage)
    stage.source().down = Unavailable("no answer")
    stage.cluster.touch(SECRET, "kubectl-edit", {DATA: None})
    await stage.passes(1)
    assert stage.data(SECRET) == {"password": "kt-canary-1"}


@staged
async def test_an_edit_that_cannot_be_repaired_is_said_at_once(stage: Stage) -> None:
    await stand(stage)
    await stage.restart()
    stage.source().down = Unavailable("no answer")
    stage.cluster.touch(SECRET, "kubectl-edit", {DATA: None})
    await stage.passes(1)
    assert stage.reason(APP) == "ProviderUnavailable"
    stage.source().down = None
    await stage.passes(30)
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert stage.reason(APP) == "Synced"


FOREIGN: dict[Path, object] = {("data", "theirs"): secret("kt-canary-x"), ("labels", "theirs"): "1", ("annotations", "theirs"): "1"}


@staged
async def test_what_others_add_stays_through_repair_and_change(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.touch(SECRET, "kubectl-edit", FOREIGN)
    await stage.passes(1)
    assert stage.tape.writes == []
    stage.cluster.touch(SECRET, "kubectl-edit", {DATA: secret("kt-canary-edit")})
    stage.source(password="kt-canary-2")
    await stage.passes(3600)
    held = stage.cluster.secrets[SECRET]
    assert stage.data(SECRET) == {"password": "kt-canary-2", "theirs": "kt-canary-x"}
    assert held.labels["theirs"] == held.annotations["theirs"] == "1"


@pytest.mark.parametrize("hand", ["nobody", "edited", "co-owned", "managedFields stripped"])
@staged
async def test_a_key_that_left_the_spec_while_we_were_away_is_gone_after_the_start(stage: Stage, hand: str) -> None:
    stage.cluster.put(managed("app-db", order("password", "user", labels={"old": "1"}, annotations={"old": "1"})))
    await stage.settle(APP)
    stage.cluster.edit(APP, order=order("password"))
    held, old = stage.cluster.secrets[SECRET], [("data", "user"), ("labels", "old"), ("annotations", "old")]
    if hand == "edited":
        held.update("kubectl", {("data", "user"): secret("kt-canary-e"), ("labels", "old"): "2", ("annotations", "old"): "2"})
    if hand == "co-owned":
        held.co_own("argocd", old)
    if hand == "managedFields stripped":
        held.strip_managed_fields()
    stage.cluster.bump(SECRET)
    await stage.restart()
    stage.start()
    await stage.passes(1)
    held = stage.cluster.secrets[SECRET]
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert "old" not in held.labels
    assert "old" not in held.annotations
    stage.tape.rewind()
    await stage.restart()
    await stage.passes(1)
    assert stage.tape.writes == []


@staged
async def test_a_deleted_secret_comes_back_from_what_was_read_before(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.vanish(SECRET)
    await stage.passes(1)
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert stage.source().calls == []
    assert stage.events.reasons == ["Recreated"]
    assert stage.tape.reads == ["look Secret/shop/app-db", "alive ManagedSecret/shop/app-db"]
    assert stage.tape.writes == ["create Secret/shop/app-db", "status ManagedSecret/shop/app-db"]


@staged
async def test_a_secret_that_waits_for_finalizers_is_made_anew_after_them(stage: Stage) -> None:
    await stand(stage)
    stage.cluster.secrets[SECRET].finalizers = ("theirs/keep",)
    stage.cluster.vanish(SECRET)
    await stage.passes(5)
    assert stage.reason(APP) == "Progressing"
    stage.cluster.secrets[SECRET].finalizers = ()
    stage.cluster.vanish(SECRET)
    await stage.passes(1)
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert stage.reason(APP) == "Synced"


EDITS = [DATA, ("labels", "app.kubernetes.io/managed-by"), ("annotations", "keyturn.dev/changed-at")]


@pytest.mark.parametrize("edit", EDITS, ids=["data", "label", "our clock"])
@pytest.mark.parametrize("gone", [False, True], ids=["changed", "taken away"])
@staged
async def test_another_writer_that_does_not_give_in_is_given_way_after_five_times(stage: Stage, edit: Path, *, gone: bool) -> None:
    await stand(stage)
    for n in range(3 * LIMIT):
        new = secret(f"kt-canary-war-{n}") if edit[0] == "data" else f"war-{n}"
        if gone and edit in stage.cluster.secrets[SECRET].values:
            stage.cluster.touch(SECRET, "rival", {edit: None})
        elif not gone:
            stage.cluster.touch(SECRET, "rival", {edit: new})
        await stage.passes(1)
    assert len(stage.tape.only("apply")) == LIMIT
    assert stage.reason(APP) == "TargetConflict"
    assert stage.events.reasons.count("Conflict") > 0


@staged
async def test_whoever_keeps_deleting_the_secret_is_given_way_too(stage: Stage) -> None:
    await stand(stage)
    for _ in range(3 * LIMIT):
        if SECRET in stage.cluster.secrets:
            stage.cluster.vanish(SECRET)
        await stage.passes(1)
    assert len(stage.tape.only("create")) == LIMIT
    assert stage.reason(APP) == "TargetConflict"
    await stage.passes(1800)
    assert stage.reason(APP) == "Synced"


@staged
async def test_a_new_value_goes_through_a_conflict(stage: Stage) -> None:
    await stand(stage)
    for n in range(LIMIT + 1):
        stage.cluster.touch(SECRET, "rival", {DATA: secret(f"kt-canary-war-{n}")})
        await stage.passes(1)
    assert stage.reason(APP) == "TargetConflict"
    stage.source(password="kt-canary-2")
    await stage.passes(3600)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}
    assert stage.reason(APP) == "Synced"


@staged
async def test_peace_comes_back_by_itself(stage: Stage) -> None:
    await stand(stage)
    for n in range(LIMIT + 1):
        stage.cluster.touch(SECRET, "rival", {DATA: secret(f"kt-canary-war-{n}")})
        await stage.passes(1)
    assert stage.reason(APP) == "TargetConflict"
    await stage.passes(1800)
    assert stage.reason(APP) == "Synced"
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
