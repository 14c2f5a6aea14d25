"""The one step that is missing, told from metadata (cluster rules 1 to 4, 10, 12, 13)."""

from dataclasses import replace

import pytest

from builders import CHANGED, condition, desired, entry, live, managed, order, stored, synced
from keyturn.decide.diff import Sight, diff, is_as_written
from keyturn.model.errors import Pending
from keyturn.model.ids import CHANGED_AT_ANNOTATION, MANAGED_LABEL, OWNER_ANNOTATION, REVISION_ANNOTATION
from keyturn.model.objects import Managed
from keyturn.model.order import CreationPolicy, Order, RefreshPolicy
from keyturn.model.plan import Action, Leftover, Live, Owner, Plan
from keyturn.testing.fields import FakeSecret, fields_of

ME = managed()
IN_SYNC = synced(ME)
SECRET = desired(ME)
LIVE = live(ME)
FOREIGN = replace(LIVE, uid="uid-other", annotations={}, labels={}, owners=(), managers={"kubectl": LIVE.fields_of("keyturn/app-db")})


def step(of: Managed, there: Live | None, *, rival_alive: bool = False, former: Live | None = None) -> Plan:
    assert isinstance(of.order, Order)
    return diff(of, of.order, desired(of), Sight(there, rival_alive, former))


def after(change: FakeSecret) -> Live:
    change.version += 1
    return change.live()


def test_nothing_there_and_never_written_is_a_create_without_a_read() -> None:
    assert step(ME, None) == Plan(Action.CREATE, SECRET)


def test_a_secret_that_is_gone_comes_back_only_for_a_living_owner() -> None:
    plan = step(IN_SYNC, None)
    assert (plan.action, plan.needs_owner_alive, plan.is_drift) == (Action.RECREATE, True, True)


def test_what_stands_as_ordered_needs_nothing() -> None:
    assert step(IN_SYNC, LIVE).action is Action.NOTHING
    assert step(ME, LIVE).action is Action.NOTHING, "after a lost status, our Secret is ours"


def test_no_data_never_makes_a_secret_and_deletes_ours_alone() -> None:
    nothing = desired(ME, {})
    for there, action in ((None, Action.NOTHING), (LIVE, Action.DELETE), (FOREIGN, Action.NOTHING)):
        assert diff(IN_SYNC, order(), nothing, Sight(there)).action is action


def test_a_secret_that_is_being_deleted_is_waited_for() -> None:
    with pytest.raises(Pending, match="being deleted"):
        step(IN_SYNC, replace(LIVE, deleting=True))


def edited(secret: FakeSecret) -> None:
    secret.update("kubectl-edit", {("data", "password"): desired(ME, {"password": "kt-canary-edit"}).data["password"]})


def deleted_key(secret: FakeSecret) -> None:
    secret.update("kubectl-edit", {("data", "password"): None})


def relabelled(secret: FakeSecret) -> None:
    secret.update("kubectl-edit", {("labels", "app.kubernetes.io/managed-by"): "Helm"})


def unlabelled(secret: FakeSecret) -> None:
    secret.update("kubectl-edit", {("labels", MANAGED_LABEL): None})


def remarked(secret: FakeSecret) -> None:
    secret.update("kubectl-edit", {("annotations", REVISION_ANNOTATION): "12345678-000"})


def unmarked_time(secret: FakeSecret) -> None:
    secret.update("kubectl-edit", {("annotations", CHANGED_AT_ANNOTATION): None})


@pytest.mark.parametrize("hand", [edited, deleted_key, relabelled, unlabelled, remarked, unmarked_time, FakeSecret.strip_managed_fields])
def test_an_edit_of_our_fields_is_drift(hand) -> None:  # type: ignore[no-untyped-def]  # functions over FakeSecret
    secret = stored(SECRET)
    hand(secret)
    plan = step(IN_SYNC, after(secret))
    assert (plan.action, plan.is_drift, plan.needs_owner_alive) == (Action.CHANGE, True, False)
    assert not is_as_written(IN_SYNC, order(), secret.live())


def foreign_key(secret: FakeSecret) -> None:
    secret.update("kubectl-edit", {("data", "theirs"): SECRET.data["password"]})


def foreign_label(secret: FakeSecret) -> None:
    secret.update("kubectl-edit", {("labels", "theirs"): "1"})


def foreign_annotation(secret: FakeSecret) -> None:
    secret.update("kubectl-edit", {("annotations", "theirs"): "1"})


def foreign_owner(secret: FakeSecret) -> None:
    secret.update("kubectl-edit", {("owners", "uid-x"): Owner("ConfigMap", "x", "uid-x")})


def co_owned(secret: FakeSecret) -> None:
    secret.co_own("argocd", [("data", "password")])


@pytest.mark.parametrize("hand", [foreign_key, foreign_label, foreign_annotation, foreign_owner, co_owned])
def test_what_others_add_is_theirs(hand) -> None:  # type: ignore[no-untyped-def]  # functions over FakeSecret
    secret = stored(SECRET)
    hand(secret)
    assert step(IN_SYNC, after(secret)).action is Action.NOTHING
    assert is_as_written(IN_SYNC, order(), secret.live())


def test_who_took_a_field_is_named() -> None:
    secret = stored(SECRET)
    edited(secret)
    assert step(IN_SYNC, after(secret)).taken_by == {"password": "kubectl-edit"}


@pytest.mark.parametrize(
    ("hand", "field"),
    [
        pytest.param(deleted_key, "password", id="a key taken away"),
        pytest.param(relabelled, "label app.kubernetes.io/managed-by", id="a label changed"),
        pytest.param(unlabelled, f"label {MANAGED_LABEL}", id="a label taken away"),
        pytest.param(remarked, f"annotation {REVISION_ANNOTATION}", id="an annotation changed"),
    ],
)
def test_every_field_that_was_taken_is_counted(hand, field: str) -> None:  # type: ignore[no-untyped-def]  # functions over FakeSecret
    secret = stored(SECRET)
    hand(secret)
    assert field in step(IN_SYNC, after(secret)).taken_by


def test_a_new_value_is_a_change_and_no_drift() -> None:
    plan = diff(IN_SYNC, order(), desired(ME, {"password": "kt-canary-2"}), Sight(LIVE))
    assert (plan.action, plan.is_drift) == (Action.CHANGE, False)


def test_a_changed_spec_is_sent_even_where_metadata_show_no_difference() -> None:
    """The type of a Secret is not in its metadata, so only an apply can tell (and changes nothing where it is the same)."""
    assert step(replace(IN_SYNC, generation=2, order=order(type="kubernetes.io/basic-auth")), LIVE).action is Action.CHANGE


TWO = managed("app-db", order("password", "old", labels={"old": "1"}, annotations={"old": "1"}))


@pytest.mark.parametrize("hand", ["nobody", "edited", "co-owned", "applied", "status lost"])
def test_what_left_the_spec_goes_whoever_holds_it_by_now(hand: str) -> None:
    secret = stored(desired(TWO))
    if hand == "edited":
        secret.update("kubectl", {("data", "old"): SECRET.data["password"], ("labels", "old"): "2", ("annotations", "old"): "2"})
    if hand == "co-owned":
        secret.co_own("argocd", [("data", "old"), ("labels", "old"), ("annotations", "old")])
    if hand == "applied":
        secret.apply(SECRET.manager, fields_of(SECRET, CHANGED))
    now = managed("app-db", order("password"), generation=2, status=None if hand == "status lost" else synced(TWO).status)
    plan = step(now, after(secret))
    assert plan.action is Action.CHANGE
    assert plan.once_ours == Leftover(frozenset({"old"}), frozenset({"old"}), frozenset({"old"}))


def test_a_key_that_we_never_wrote_is_no_leftover() -> None:
    secret = stored(SECRET)
    foreign_key(secret)
    assert "theirs" not in step(replace(IN_SYNC, generation=2), after(secret)).once_ours.data


def test_leftovers_are_known_where_managed_fields_were_stripped() -> None:
    secret = stored(desired(TWO))
    secret.strip_managed_fields()
    now = managed("app-db", order("password"), generation=2, status=synced(TWO).status)
    assert "old" in step(now, after(secret)).once_ours.data


def test_leftovers_are_taken_away_also_where_others_put_so_much_there_that_they_are_not_seen() -> None:
    labelled = replace(IN_SYNC.status.target, labels=(*IN_SYNC.status.target.labels, "old")) if IN_SYNC.status.target else None
    was = replace(IN_SYNC, status=replace(IN_SYNC.status, target=labelled))
    assert step(was, LIVE).once_ours.labels == frozenset()
    assert step(was, replace(LIVE, is_cut=True)).once_ours.labels == {"old"}
    assert step(IN_SYNC, replace(LIVE, is_cut=True)).action is Action.NOTHING


def test_leftovers_of_an_earlier_life_go_when_the_secret_is_adopted() -> None:
    secret = stored(desired(TWO))
    secret.update("kubectl", {("annotations", OWNER_ANNOTATION): None})
    plan = step(managed("app-db", order("password", adopt=True)), after(secret))
    assert plan.action is Action.ADOPT
    assert "old" in plan.once_ours.data


def test_a_lost_owner_reference_is_restored_only_for_a_living_owner() -> None:
    plan = step(IN_SYNC, replace(LIVE, owners=()))
    assert (plan.action, plan.needs_owner_alive) == (Action.CHANGE, True)


def test_our_owner_reference_goes_when_the_policy_turns_to_orphan() -> None:
    now = replace(IN_SYNC, order=order(creation=CreationPolicy.ORPHAN), generation=2)
    plan = step(now, LIVE)
    assert (plan.action, plan.needs_owner_alive) == (Action.CHANGE, False)


RENAMED = replace(IN_SYNC, order=order(target="new"), generation=2)


@pytest.mark.parametrize(
    ("former", "goes"),
    [
        pytest.param(LIVE, True, id="owned and as status names it"),
        pytest.param(replace(LIVE, owners=()), False, id="an orphan stays"),
        pytest.param(replace(LIVE, uid="uid-other"), False, id="another incarnation stays"),
        pytest.param(replace(LIVE, deleting=True), False, id="on its way already"),
        pytest.param(None, False, id="gone already"),
    ],
)
@pytest.mark.parametrize("new_stands", [False, True], ids=["new to be made", "new stands"])
def test_a_former_target_goes_with_its_owner(*, former: Live | None, goes: bool, new_stands: bool) -> None:
    there = stored(desired(RENAMED), "uid-new").live() if new_stands else None
    plan = step(RENAMED, there, former=former)
    assert (plan.retire is not None) is goes
    assert (plan.action is Action.CREATE) is not new_stands


def test_a_target_under_a_new_name_is_no_recreation() -> None:
    assert step(RENAMED, None).action is Action.CREATE


@pytest.mark.parametrize(
    ("change", "stands"),
    [
        pytest.param({}, True, id="as written"),
        pytest.param({"uid": "uid-other"}, False, id="another incarnation"),
        pytest.param({"deleting": True}, False, id="being deleted"),
        pytest.param({"owners": ()}, False, id="without our reference"),
        pytest.param({"annotations": {**LIVE.annotations, "theirs": "1"}}, True, id="with foreign annotations"),
    ],
)
def test_as_written_is_told_from_metadata(*, change: dict[str, object], stands: bool) -> None:
    assert is_as_written(IN_SYNC, order(), replace(LIVE, **change)) is stands  # type: ignore[arg-type]  # a table of fields


def test_as_written_holds_for_more_keys_than_a_status_names() -> None:
    many = managed("app-db", order(*(entry(f"k{n:03}") for n in range(150))))
    assert is_as_written(synced(many), many.order, live(many))  # type: ignore[arg-type]  # an Order, as built


def test_created_once_is_as_written_whatever_its_data() -> None:
    secret = stored(SECRET)
    edited(secret)
    assert is_as_written(IN_SYNC, order(refresh=RefreshPolicy.CREATED_ONCE), secret.live())


@pytest.mark.parametrize(
    ("of", "in_doubt"),
    [
        pytest.param(IN_SYNC, False, id="written for this generation"),
        pytest.param(replace(IN_SYNC, generation=2), True, id="a new spec"),
        pytest.param(
            replace(IN_SYNC, status=replace(IN_SYNC.status, conditions=(condition("Ready", "False", "AuditUnavailable"),))),
            True,
            id="a spec that failed at first",
        ),
        pytest.param(ME, False, id="made a moment ago, the status lost"),
        pytest.param(replace(ME, generation=2), True, id="made a moment ago, the status lost, and a new spec"),
    ],
)
def test_the_type_is_asked_for_where_it_is_in_doubt(*, of: Managed, in_doubt: bool) -> None:
    assert (step(of, LIVE).action is Action.CHANGE) is in_doubt


def test_the_type_of_an_orphan_from_an_earlier_life_is_in_doubt() -> None:
    orphan = managed("app-db", order(creation=CreationPolicy.ORPHAN))
    assert step(orphan, stored(desired(orphan)).live()).action is Action.CHANGE
