"""What objects say of themselves, by the rules of kstatus and of api.md (Status)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from builders import CHANGED, THEN, condition, desired, entry, live, managed, order, provider, synced
from keyturn.decide import summary
from keyturn.model.errors import Rejected
from keyturn.model.ids import READER, Carrier, KeyRef, Kind
from keyturn.model.objects import ProviderObject
from keyturn.model.order import FileConfig, ProviderOrder, RefreshPolicy
from keyturn.model.status import REASONS, Condition, Polarity, Status
from keyturn.model.vault import TokenLogin, VaultConfig

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAMP = "2026-03-01T12:00:00Z"
ME = managed()
IN_SYNC = synced(ME)


def done(of=IN_SYNC, now: datetime = NOW, version: str = "") -> Status:  # type: ignore[no-untyped-def]  # a Managed
    return summary.synced(of, of.order, desired(of, version=version), live(of), now)


def kinds(status: Status) -> dict[str, str]:
    return {c.type: c.status for c in status.conditions}


def test_a_synced_object_has_ready_alone_and_names_its_secret() -> None:
    status = done(ME)
    assert kinds(status) == {"Ready": "True"}
    assert (status.generation, status.last_change, status.revision) == (1, CHANGED, desired(ME).revision)
    assert status.target is not None
    assert (status.target.name, status.target.uid, status.target.keys) == ("app-db", "uid-secret", ("password",))


def test_a_second_good_sync_has_nothing_new_to_say() -> None:
    first = done(ME)
    assert done(replace(ME, status=first), NOW + timedelta(hours=5)) == first


def test_a_new_version_of_the_same_data_is_no_news() -> None:
    first = done(ME, version="1")
    assert [source.version for source in first.sources] == ["1"]
    assert done(replace(ME, status=first), version="2") == first


@pytest.mark.parametrize("change", ["revision", "generation", "nothing named yet"])
def test_the_version_that_came_is_named_with_a_write_that_is_due(change: str) -> None:
    first = done(ME, version="1")
    former, generation = {
        "revision": (replace(first, revision="other"), 1),
        "generation": (first, 2),
        "nothing named yet": (replace(first, sources=()), 1),
    }[change]
    assert [source.version for source in done(replace(ME, status=former, generation=generation), version="2").sources] == ["2"]


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_ready_and_the_abnormal_condition_follow_the_table(reason: str) -> None:
    made = summary.conditions((), 1, reason, "m", NOW)
    polarity = REASONS[reason].polarity
    assert {c.type: (c.status, c.reason) for c in made} == (
        {"Ready": ("False", reason), polarity.value: ("True", reason)} if polarity else {"Ready": ("True", reason)}
    )


STALLED = "InvalidSpec TemplateError KeyConflict ProviderNotAllowed PolicyViolation TargetNotOwned TargetImmutable TargetConflict"
RECONCILING = (
    "Progressing Throttled ProviderNotFound ProviderNotReady ProviderUnavailable Stale SourceNotFound SourcePartlyMissing "
    "SourceDisabled SourceInvalid SourceDeleted AuditUnavailable AccessDenied AuthFailed"
)


def test_the_table_of_reasons_is_the_one_of_the_api() -> None:
    table = {polarity: {r for r, row in REASONS.items() if row.polarity is polarity} for polarity in Polarity}
    assert table == {Polarity.NONE: {"Synced"}, Polarity.STALLED: set(STALLED.split()), Polarity.RECONCILING: set(RECONCILING.split())}


def test_a_transition_time_moves_only_when_the_status_flips() -> None:
    failed = summary.failed(IN_SYNC, "SourceDeleted", "gone", NOW)
    assert failed.condition("Ready") == condition(
        "Ready", "False", "SourceDeleted", "gone. Create the secrets again, or delete the ManagedSecret.", since=STAMP
    )
    again = summary.failed(replace(IN_SYNC, status=failed), "AccessDenied", "no", NOW + timedelta(hours=1))
    ready, reconciling = again.condition("Ready"), again.condition("Reconciling")
    assert ready is not None
    assert reconciling is not None
    assert (ready.since, ready.reason, reconciling.since) == (STAMP, "AccessDenied", STAMP)


def test_a_denial_that_lasts_turns_from_reconciling_to_stalled() -> None:
    first = replace(ME, status=summary.failed(ME, "AccessDenied", "no", NOW))
    assert kinds(first.status) == {"Ready": "False", "Reconciling": "True"}
    assert kinds(summary.failed(first, "AccessDenied", "no", NOW, stalled=True)) == {"Ready": "False", "Stalled": "True"}


def test_a_failure_forgets_nothing_of_what_was_written() -> None:
    failed = summary.failed(IN_SYNC, "SourceDeleted", "gone", NOW)
    assert (failed.target, failed.revision, failed.sources) == (IN_SYNC.status.target, IN_SYNC.status.revision, IN_SYNC.status.sources)


def test_the_same_failure_again_has_nothing_new_to_say() -> None:
    failed = summary.failed(ME, "SourceNotFound", "no", NOW)
    assert summary.failed(replace(ME, status=failed), "SourceNotFound", "no", NOW + timedelta(hours=1)) == failed


@pytest.mark.parametrize("reason", sorted(set(REASONS) - {"Synced"}))
def test_every_failure_says_what_to_do(reason: str) -> None:
    ready = summary.failed(ME, reason, "it failed", NOW).condition("Ready")
    assert ready is not None
    # Where a person must act, the message itself names field and remedy.
    remedy = "" if REASONS[reason].polarity is Polarity.STALLED else f". {REASONS[reason].remedy}"
    assert ready.message == f"it failed{remedy}"


@pytest.mark.parametrize("reason", ["AuthFailed", "AccessDenied", "SourceInvalid", "SourceDisabled", "ProviderUnavailable"])
def test_a_cause_that_has_its_own_remedy_gets_no_other(reason: str) -> None:
    ready = summary.failed(ME, reason, "it has ended; renew it", NOW).condition("Ready")
    assert ready is not None
    assert ready.message == "it has ended; renew it"


def test_what_stays_meanwhile_is_no_remedy() -> None:
    ready = summary.failed(ME, "SourcePartlyMissing", "gone; the last good Secret stays", NOW).condition("Ready")
    assert ready is not None
    assert ready.message == f"gone; the last good Secret stays. {REASONS['SourcePartlyMissing'].remedy}"


def test_a_long_message_is_cut() -> None:
    ready = summary.failed(ME, "InvalidSpec", "x" * 5000, NOW).condition("Ready")
    assert ready is not None
    assert len(ready.message) == summary.MESSAGE_LIMIT


def test_conditions_of_others_stay() -> None:
    theirs = condition("ConsumersConverged", "True", "Converged", "all pods have it")
    of = replace(IN_SYNC, status=replace(IN_SYNC.status, conditions=(*IN_SYNC.status.conditions, theirs)))
    assert theirs in done(of).conditions
    assert theirs in summary.failed(of, "Stale", "old", NOW).conditions


def test_a_request_is_answered_with_its_token() -> None:
    of = replace(IN_SYNC, reconcile_token="please-7")
    assert done(of).handled_reconcile == "please-7"
    assert summary.failed(of, "SourceDeleted", "gone", NOW).handled_reconcile == "please-7"


@pytest.mark.parametrize(
    ("before", "ready"),
    [
        pytest.param(IN_SYNC, ("True", "Synced"), id="after a good sync"),
        pytest.param(
            replace(ME, status=summary.failed(ME, "SourceNotFound", "no", NOW)), ("False", "SourceNotFound"), id="after a failure"
        ),
        pytest.param(ME, ("Unknown", "Progressing"), id="before the first"),
    ],
)
def test_suspension_keeps_ready_and_its_reason(before, ready: tuple[str, str]) -> None:  # type: ignore[no-untyped-def]  # a Managed
    status = summary.suspended(replace(before, generation=2), NOW)
    found = status.condition("Ready")
    assert found is not None
    assert (found.status, found.reason) == ready
    assert kinds(status)["Suspended"] == "True"
    assert status.generation == 2
    assert all(c.generation == 2 for c in status.conditions)


def test_suspension_is_one_write() -> None:
    first = summary.suspended(IN_SYNC, NOW)
    assert summary.suspended(replace(IN_SYNC, status=first), NOW + timedelta(days=1)) == first


@pytest.mark.parametrize("end", ["synced", "failed"])
def test_suspended_goes_when_it_ends(end: str) -> None:
    of = replace(IN_SYNC, status=summary.suspended(IN_SYNC, NOW))
    status = done(of) if end == "synced" else summary.failed(of, "SourceDeleted", "gone", NOW)
    assert status.condition("Suspended") is None


def test_after_deletion_of_the_secret_nothing_of_it_is_named() -> None:
    status = summary.removed(IN_SYNC, NOW)
    assert (status.target, status.revision, status.last_change, status.sources, status.source_count) == (None, "", "", (), 0)
    assert kinds(status) == {"Ready": "False", "Reconciling": "True"}


def test_a_kept_secret_keeps_its_own_revision() -> None:
    once = replace(ME, order=order(refresh=RefreshPolicy.CREATED_ONCE))
    status = summary.kept(once, once.order, live(ME), NOW)  # type: ignore[arg-type]  # an Order, as built
    assert (status.revision, status.last_change) == (desired(ME).revision, CHANGED)
    assert status.target is not None
    assert status.target.keys == ("password",)


def test_a_kept_secret_keeps_the_versions_that_it_was_made_from() -> None:
    once = replace(ME, order=order(refresh=RefreshPolicy.CREATED_ONCE), status=done(ME, version="7"), generation=2)
    status = summary.kept(once, once.order, live(ME), NOW)  # type: ignore[arg-type]  # an Order, as built
    assert [source.version for source in status.sources] == ["7"]


def test_keys_and_sources_are_capped_at_a_hundred_with_a_count() -> None:
    many = managed("app-db", order(*(entry(f"k{n:03}") for n in range(150))))
    status = done(many)
    assert status.target is not None
    assert (len(status.target.keys), status.target.key_count, len(status.sources), status.source_count) == (100, 150, 100, 150)


def checked(of, reason: str = "Synced", now: datetime = NOW, caps: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]  # a ProviderObject
    return summary.provider_checked(of, reason, "told", now, caps=caps)


def test_a_provider_that_answers_is_ready_and_valid() -> None:
    status = checked(provider(), caps=("GET",))
    assert [(c.type, c.status, c.reason) for c in status.conditions] == [("Ready", "True", "Valid")]
    assert (status.last_check, status.capabilities) == (STAMP, ("GET",))


@pytest.mark.parametrize(("seconds", "moves"), [(1, False), (299, False), (300, True), (3600, True)])
def test_a_sign_of_life_moves_at_most_once_in_five_minutes(*, seconds: int, moves: bool) -> None:
    of = replace(provider(), status=checked(provider()))
    again = checked(of, now=NOW + timedelta(seconds=seconds))
    assert (again != of.status) is moves


@pytest.mark.parametrize("change", ["reason", "capabilities", "generation"])
def test_what_changes_at_a_provider_is_said_at_once(change: str) -> None:
    of = replace(provider(), status=checked(provider()))
    soon = NOW + timedelta(seconds=1)
    changed = {
        "reason": lambda: checked(of, "AuthFailed", soon),
        "capabilities": lambda: checked(of, now=soon, caps=("LIST",)),
        "generation": lambda: checked(replace(of, generation=2), now=soon),
    }[change]()
    assert changed != of.status
    assert changed.last_check == "2026-03-01T12:00:01Z"


def test_a_provider_says_which_it_is_with_its_first_check_and_writes_no_more_for_it() -> None:
    of = provider(order=ProviderOrder(FileConfig("shop"), member="file"))
    status = checked(of)
    assert status.provider == "file"
    assert checked(replace(of, status=status), now=NOW + timedelta(seconds=299)) == status


def test_a_provider_whose_spec_makes_no_sense_is_of_no_kind() -> None:
    former = replace(checked(provider()), provider="file")
    assert checked(provider(order=Rejected("spec.provider: is required"), status=former), "InvalidSpec").provider == ""


def per_reader() -> ProviderObject:
    """A provider that is logged in to by each namespace apart."""
    token = KeyRef(Carrier.SECRET, READER, "token", "token")
    return provider(kind=Kind.CLUSTER_SECRET_PROVIDER, order=ProviderOrder(VaultConfig("https://vault.test", TokenLogin(token))))


def test_a_provider_without_a_log_in_of_its_own_is_ready_without_a_sign_of_life() -> None:
    of = per_reader()
    status = checked(of)
    assert [(c.type, c.status, c.reason) for c in status.conditions] == [("Ready", "True", "CheckedPerNamespace")]
    assert status.last_check == ""
    assert checked(replace(of, status=status), now=NOW + timedelta(days=1)) == status


def test_a_provider_that_each_logs_in_to_for_itself_from_now_on_has_no_sign_of_life_any_more() -> None:
    former = checked(provider(kind=Kind.CLUSTER_SECRET_PROVIDER), caps=("GET",))
    status = checked(replace(per_reader(), generation=2, status=former), now=NOW + timedelta(seconds=1))
    assert (status.last_check, status.capabilities) == ("", ())
    assert status.conditions[0].since == former.conditions[0].since, "it was Ready, and is"


def test_a_provider_that_nobody_can_open_is_not_ready_whoever_would_log_in() -> None:
    status = checked(per_reader(), "InvalidSpec")
    assert [(c.type, c.status, c.reason) for c in status.conditions] == [
        ("Ready", "False", "InvalidSpec"),
        ("Stalled", "True", "InvalidSpec"),
    ]


def test_a_provider_that_fails_keeps_one_abnormal_condition() -> None:
    of = replace(provider(), status=checked(provider(), "AuthFailed"))
    healed = checked(replace(of), now=NOW + timedelta(minutes=1))
    assert {c.type for c in of.status.conditions} == {"Ready", "Reconciling"}
    assert {c.type for c in healed.conditions} == {"Ready"}


def test_a_condition_is_a_whole_kubernetes_condition() -> None:
    assert Condition("Ready", "True", "Synced", "m", THEN, 3).as_dict() == {
        "type": "Ready",
        "status": "True",
        "reason": "Synced",
        "message": "m",
        "lastTransitionTime": THEN,
        "observedGeneration": 3,
    }
