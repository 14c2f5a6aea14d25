"""Rows that stand for themselves: denials once and not at each retry, what a provider is, what is gone, and who works."""

import pytest

from builders import managed, msec, order, provider, sprov, staged, target_ref
from keyturn.flow.office import Office
from keyturn.model.audit import AuditEntry, Outcome
from keyturn.model.errors import AccessDenied, AuthFailed, KeyturnError, Rejected, Unavailable
from keyturn.model.order import CreationPolicy
from keyturn.testing.world import Stage

APP, SECRET, VAULT = msec(), target_ref(), sprov()
HOUR = 3600


def notes(stage: Stage, action: str) -> list[tuple[AuditEntry, str]]:
    return [(entry, reason) for entry, _, reason in stage.audit.entries if entry.action == action]


def denials(stage: Stage) -> list[str]:
    assert all(outcome is Outcome.DENIED for entry, outcome, _ in stage.audit.entries if entry.action.endswith(".deny"))
    return [reason for entry, reason in [*notes(stage, "sync.deny"), *notes(stage, "provider.deny")]]


async def stand(stage: Stage) -> None:
    stage.cluster.put(managed("app-db"))
    stage.start()
    await stage.quiet()


@staged
async def test_a_denial_is_a_row_when_it_begins_and_none_at_a_retry(stage: Stage) -> None:
    stage.source().values["password"] = AccessDenied("no right to read it")
    await stand(stage)
    await stage.passes(6 * HOUR)
    [(entry, reason)] = notes(stage, "sync.deny")
    assert (reason, entry.subject, entry.target) == ("AccessDenied", str(APP), str(VAULT))
    assert "no right to read it" in entry.details["message"]
    assert (entry.trigger, entry.details["uid"], entry.details["generation"]) == ("new", "uid-of-app-db", "1")
    assert entry.attempt, "it belongs to the attempt that met it"


@staged
async def test_a_denial_that_becomes_another_one_is_a_row_and_so_is_the_same_one_after_it_had_ended(stage: Stage) -> None:
    stage.source().values["password"] = AccessDenied("no right to read it")
    await stand(stage)
    stage.source().values["password"] = AuthFailed("the log-in was refused")
    await stage.passes(HOUR)
    assert denials(stage) == ["AccessDenied", "AuthFailed"]
    stage.source(password="kt-canary-2")
    await stage.passes(HOUR)
    stage.source().values["password"] = AuthFailed("the log-in was refused")
    await stage.passes(2 * HOUR)
    assert denials(stage) == ["AccessDenied", "AuthFailed", "AuthFailed"]


@staged
async def test_an_outage_between_two_looks_at_a_denial_makes_no_row(stage: Stage) -> None:
    stage.source().values["password"] = AccessDenied("no right to read it")
    await stand(stage)
    stage.source().values["password"] = Unavailable("no answer")
    await stage.passes(HOUR)
    stage.source().values["password"] = AccessDenied("no right to read it")
    await stage.passes(HOUR)
    assert denials(stage) == ["AccessDenied"]


@staged
async def test_the_next_process_does_not_say_again_what_the_object_says_itself(stage: Stage) -> None:
    stage.source().values["password"] = AccessDenied("no right to read it")
    await stand(stage)
    await stage.restart()
    await stage.passes(HOUR)
    assert denials(stage) == ["AccessDenied"]


@staged
async def test_who_changes_a_spec_again_and_again_makes_no_more_rows_than_changes(stage: Stage) -> None:
    await stand(stage)
    for turn in range(50):
        stage.cluster.edit(APP, order=Rejected(f"spec.data: wrong in way {turn % 2}") if turn % 3 else order())
        await stage.passes(1)
    assert 0 < len(denials(stage)) <= 50
    told = len(denials(stage))
    await stage.passes(6 * HOUR)
    assert len(denials(stage)) == told


@staged
async def test_a_request_that_is_denied_as_before_is_a_row_with_its_token(stage: Stage) -> None:
    stage.source().values["password"] = AccessDenied("no right to read it")
    await stand(stage)
    stage.cluster.edit(APP, reconcile_token="abc")
    await stage.passes(HOUR)
    assert [entry.trigger for entry, _ in notes(stage, "sync.deny")] == ["new", "request abc"]


@pytest.mark.parametrize("refusal", [Rejected("spec.prefix: not allowed here"), AuthFailed("the log-in was refused")])
@staged
async def test_a_provider_that_is_refused_is_a_row_of_its_own(stage: Stage, refusal: KeyturnError) -> None:
    if isinstance(refusal, AuthFailed):
        stage.source().down = refusal
    else:
        stage.source().refused = refusal
    stage.cluster.put(provider())
    stage.start()
    await stage.passes(6 * HOUR)
    [(entry, reason)] = notes(stage, "provider.deny")
    assert (reason, entry.subject, entry.details["message"]) == (refusal.reason, str(VAULT), str(refusal))


@staged
async def test_the_default_provider_that_is_not_open_and_a_secret_of_somebody_else_are_denied_by_name(stage: Stage) -> None:
    stage.cluster.put(managed("app-db"))
    stage.start()
    await stage.quiet()
    stage.cluster.put(managed("other", order(target="app-db")))
    await stage.passes(HOUR)
    [(entry, reason)] = notes(stage, "sync.deny")
    assert (reason, entry.subject, entry.target) == ("TargetConflict", str(msec("other")), str(SECRET))


@staged
async def test_a_provider_is_told_once_for_each_spec_and_not_again_by_the_next_process(stage: Stage) -> None:
    stage.start()
    await stage.passes(HOUR)
    await stage.restart()
    await stage.passes(HOUR)
    [(entry, _)] = notes(stage, "provider.configure")
    assert (entry.subject, entry.trigger, entry.details["generation"]) == (str(VAULT), "new", "1")
    changed = provider().order
    stage.cluster.edit(VAULT, order=changed)
    await stage.passes(HOUR)
    assert [entry.trigger for entry, _ in notes(stage, "provider.configure")] == ["new", "spec"]


@pytest.mark.parametrize("policy", list(CreationPolicy))
@staged
async def test_an_object_that_is_deleted_is_told_with_what_becomes_of_its_secret(stage: Stage, policy: CreationPolicy) -> None:
    stage.cluster.put(managed("app-db", order(creation=policy)))
    stage.start()
    await stage.quiet()
    revision = stage.status(APP).revision
    stage.cluster.remove(APP)
    await stage.quiet()
    [(entry, _)] = notes(stage, "managedsecret.end")
    assert (entry.subject, entry.target, entry.keys) == (str(APP), str(SECRET), ("password",))
    assert entry.details["secret"] == ("stays" if policy is CreationPolicy.ORPHAN else "goes with it")
    assert entry.details["revision"] == revision
    stage.cluster.remove(VAULT)
    assert [entry.subject for entry, _ in notes(stage, "provider.end")] == [str(VAULT)]


@staged
async def test_a_replica_that_does_not_lead_says_nothing_of_what_is_gone(stage: Stage) -> None:
    await stand(stage)
    stage.fence.is_leading = False
    stage.cluster.remove(APP)
    assert notes(stage, "managedsecret.end") == []


@staged
async def test_the_operator_says_that_it_starts_leads_leaves_and_stops(stage: Stage) -> None:
    office = Office(stage.world, {"version": "1.2.3"}, ("workers",))
    office.begin(3, "7:ab")
    office.leave()
    office.leave()
    office.begin(5, "")
    office.end("kopf ended")
    office.end()
    told = [(entry.action, dict(entry.details), entry.keys, reason) for entry, _, reason in stage.audit.entries]
    started = {"started": "2026-03-01T00:00:00Z", "version": "1.2.3"}
    assert [(action, keys, reason) for action, _, keys, reason in told] == [
        ("operator.start", ("workers",), ""),
        ("operator.lead", (), ""),
        ("operator.leave", (), ""),
        ("operator.lead", (), ""),
        ("operator.stop", (), "Failed"),
    ]
    assert told[0][1].keys() == started.keys()
    assert [details for _, details, _, _ in told[1:]] == [
        {"epoch": "3", "anchor": "7:ab"},
        {"epoch": "3"},
        {"epoch": "5"},
        {"problem": "kopf ended"},
    ]


@staged
async def test_a_replica_that_never_led_says_nothing_of_itself(stage: Stage) -> None:
    office = Office(stage.world, {})
    office.leave()
    office.end()
    assert stage.audit.entries == []
