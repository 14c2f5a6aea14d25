"""While the audit trail is away: what was audited once is brought back, and nothing else is read or written."""

from datetime import UTC, datetime

import pytest

from builders import entry, managed, msec, order, secret, staged, target_ref
from keyturn.decide import summary
from keyturn.flow.check import wake_refused
from keyturn.model.audit import AuditEntry
from keyturn.model.status import REASONS
from keyturn.testing.fields import Path
from keyturn.testing.world import Stage

APP, SECRET = msec(), target_ref()
DATA: Path = ("data", "password")
EFFECTS = ("create", "apply", "strip", "delete")


def is_no_repair(entry: AuditEntry) -> bool:
    """What a queue refuses that keeps repairs."""
    return not entry.repairs


async def stand(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order()))
    stage.start()
    await stage.quiet()
    stage.tape.rewind()


async def drift(stage: Stage) -> None:
    stage.cluster.touch(SECRET, "kubectl", {DATA: secret("kt-canary-e")})


async def vanish(stage: Stage) -> None:
    stage.cluster.vanish(SECRET)


@pytest.mark.parametrize("age_s", [10, 2 * 3600], ids=["values still fresh", "values older than the interval"])
@pytest.mark.parametrize("story", [drift, vanish], ids=lambda s: s.__name__)
@staged
async def test_a_secret_is_brought_back_with_the_bytes_that_it_had_and_nothing_is_read(stage: Stage, story, age_s: int) -> None:  # type: ignore[no-untyped-def]  # one of both
    await stand(stage)
    stage.audit.is_down_for = is_no_repair
    stage.source(password="kt-canary-2")
    await stage.passes(age_s)
    reads = len(stage.source().calls)
    await story(stage)
    await stage.passes(60)
    assert stage.data(SECRET) == {"password": "kt-canary-1"}
    assert len(stage.source().calls) == reads
    assert stage.reason(APP) == "Synced"
    stage.audit.is_down_for = lambda _: False
    await stage.passes(2 * 3600)
    assert stage.data(SECRET) == {"password": "kt-canary-2"}, "the change that waited is made"


@pytest.mark.parametrize("entries", [("password", entry("note", optional=True)), ()], ids=["beside a value", "alone"])
@pytest.mark.parametrize("story", [drift, vanish], ids=lambda s: s.__name__)
@staged
async def test_a_key_that_is_not_at_the_source_hinders_no_repair_where_the_order_goes_without_it(stage: Stage, story, entries) -> None:  # type: ignore[no-untyped-def]  # one of both
    stage.cluster.put(managed("app-db", order(*entries, entry("region", default="eu"))))
    stage.start()
    await stage.quiet()
    written = stage.data(SECRET)
    assert written == {"region": "eu"} | ({"password": "kt-canary-1"} if entries else {})
    stage.audit.is_down_for = is_no_repair
    await stage.passes(2 * 3600)
    await story(stage)
    await stage.passes(60)
    assert written.items() <= stage.data(SECRET).items()


@staged
async def test_that_a_needed_key_is_gone_is_not_told_by_memory(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order("password", "token")))
    stage.source(token="kt-canary-t")
    stage.start()
    await stage.quiet()
    written = stage.data(SECRET)
    del stage.source().values["token"]
    await stage.passes(2 * 3600)
    assert stage.reason(APP) == "SourcePartlyMissing"
    stage.audit.is_down_for = is_no_repair
    await drift(stage)
    await stage.passes(60)
    assert stage.data(SECRET) != written
    assert stage.reason(APP) == "AuditUnavailable"


@pytest.mark.parametrize("story", [drift, vanish], ids=lambda s: s.__name__)
@staged
async def test_where_repairs_are_off_it_waits_and_is_said(stage: Stage, story) -> None:  # type: ignore[no-untyped-def]  # one of both
    await stand(stage)
    stage.audit.is_down = True
    await stage.passes(2 * 3600)
    await story(stage)
    await stage.passes(60)
    assert stage.tape.only(*EFFECTS) == []
    assert stage.reason(APP) == "AuditUnavailable"


@staged
async def test_a_new_spec_or_a_request_waits_although_the_values_are_in_memory(stage: Stage) -> None:
    await stand(stage)
    stage.audit.is_down_for = is_no_repair
    stage.cluster.edit(APP, order=order("user"))
    await stage.passes(60)
    assert stage.tape.only(*EFFECTS) == []
    assert stage.reason(APP) == "AuditUnavailable"


@staged
async def test_a_request_that_waits_says_so_and_is_a_request_still_when_the_trail_is_back(stage: Stage) -> None:
    await stand(stage)
    await stage.passes(60)
    stage.audit.is_down = True
    stage.source(password="kt-canary-2")
    stage.cluster.edit(APP, reconcile_token="please")
    await stage.passes(2)
    assert (stage.reason(APP), stage.status(APP).handled_reconcile) == ("AuditUnavailable", "")
    writes = len(stage.tape.writes)
    await stage.passes(600)
    assert len(stage.tape.writes) == writes, "it is said once"
    assert stage.events.reasons.count("AuditUnavailable") == 1
    stage.audit.is_down = False
    wake_refused(stage.world)
    await stage.passes(2)
    assert (stage.reason(APP), stage.status(APP).handled_reconcile) == ("Synced", "please")
    assert stage.data(SECRET) == {"password": "kt-canary-2"}


@staged
async def test_a_change_whose_values_were_read_before_the_trail_went_away_says_so_too(stage: Stage) -> None:
    await stand(stage)
    stage.audit.is_down_for = lambda entry: entry.action != "provider.read"
    stage.source(password="kt-canary-2")
    await stage.passes(3700)
    assert stage.reason(APP) == "AuditUnavailable"
    stage.audit.is_down = True
    await stage.passes(600)
    assert stage.reason(APP) == "AuditUnavailable"
    assert stage.data(SECRET) == {"password": "kt-canary-1"}


@staged
async def test_after_a_restart_no_value_is_in_memory_and_a_repair_waits(stage: Stage) -> None:
    await stand(stage)
    await stage.restart()
    await stage.quiet()
    stage.audit.is_down_for = is_no_repair
    await vanish(stage)
    await stage.passes(60)
    assert stage.tape.only(*EFFECTS) == []
    assert stage.reason(APP) == "AuditUnavailable"


@staged
async def test_when_the_trail_is_back_all_that_waited_for_it_goes_on_at_once(stage: Stage) -> None:
    await stand(stage)
    stage.audit.is_down = True
    await vanish(stage)
    await stage.passes(1800)
    assert stage.reason(APP) == "AuditUnavailable"
    stage.audit.is_down = False
    await stage.passes(2)
    assert stage.tape.only(*EFFECTS) == [], "by themselves they come in minutes"
    wake_refused(stage.world)
    await stage.passes(2)
    assert stage.reason(APP) == "Synced"


@pytest.mark.parametrize(
    ("message", "has_remedy"),
    [("the database gave no answer", False), ("rows are lost; restore the right backup, or accept the loss", True)],
)
def test_what_says_itself_how_the_trail_is_mended_is_not_contradicted(message: str, *, has_remedy: bool) -> None:
    told = summary.failed(managed("app-db", order()), "AuditUnavailable", message, datetime.now(UTC)).conditions[0].message
    assert told == (message if has_remedy else f"{message}. {REASONS['AuditUnavailable'].remedy}")
