"""The checker of statuses, which runs beside every test, sees what it should: tables of good and bad."""

from typing import Any

import pytest

from keyturn.decide import summary
from keyturn.model.ids import Kind, ObjectRef
from keyturn.model.objects import Managed
from keyturn.model.order import Order, Target
from keyturn.model.status import Status, moment
from kstatus import Verdict, changes, compute, problems
from kstatus import plugin as kstatus_plugin

THEN, NOW = "2026-05-04T03:02:01Z", "2026-05-04T03:02:02Z"


def condition(kind: str, status: str, reason: str = "Synced", message: str = "Secret app is in sync", **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": THEN,
        "observedGeneration": 2,
        **more,
    }


def made(*conditions: dict[str, Any], generation: int = 2, observed: int | None = 2, **status: Any) -> dict[str, Any]:
    told = {"conditions": list(conditions)} if conditions else {}
    seen = {} if observed is None else {"observedGeneration": observed}
    return {"kind": "ManagedSecret", "metadata": {"name": "app", "generation": generation}, "status": seen | told | status}


READY = condition("Ready", "True")
FAILING = ("SourceNotFound", "shop/db is not there")
STUCK = ("InvalidSpec", "spec.data[0] is wrong")
NEW = made(observed=-1)
SYNCED = made(READY)
RECONCILING = made(condition("Ready", "False", *FAILING), condition("Reconciling", "True", *FAILING))
STALLED = made(condition("Ready", "False", *STUCK), condition("Stalled", "True", *STUCK))
SUSPENDED = made(READY, condition("Suspended", "True", "Suspended", "spec.suspend is true"))
NEVER_BEGUN = made(
    condition("Ready", "Unknown", "Progressing", "waits"), condition("Suspended", "True", "Suspended", "spec.suspend is true")
)


@pytest.mark.parametrize(
    ("obj", "verdict"),
    [
        (NEW, Verdict.IN_PROGRESS),
        (SYNCED, Verdict.CURRENT),
        (RECONCILING, Verdict.IN_PROGRESS),
        (STALLED, Verdict.FAILED),
        (SUSPENDED, Verdict.CURRENT),
        (NEVER_BEGUN, Verdict.IN_PROGRESS),
        (made(READY, generation=3), Verdict.IN_PROGRESS),
        (made(condition("Ready", "False")), Verdict.IN_PROGRESS),
        (made(condition("Ready", "Unknown")), Verdict.IN_PROGRESS),
        (made(condition("Reconciling", "False"), READY), Verdict.CURRENT),
        (made(condition("Reconciling", "True"), condition("Stalled", "True")), Verdict.IN_PROGRESS),
        (made(condition("Stalled", "True"), READY), Verdict.FAILED),
        (made(condition("Other", "False")), Verdict.CURRENT),
        (made(READY, observed=None, generation=3), Verdict.CURRENT),
        ({}, Verdict.CURRENT),
        (SYNCED | {"metadata": {"deletionTimestamp": NOW, "generation": 2}}, Verdict.TERMINATING),
    ],
)
def test_an_object_reads_as_kstatus_reads_it(obj: dict[str, Any], verdict: Verdict) -> None:
    assert compute(obj) is verdict


@pytest.mark.parametrize("obj", [NEW, SYNCED, RECONCILING, STALLED, SUSPENDED, NEVER_BEGUN, made(READY, generation=3)])
def test_a_good_status_is_let_through(obj: dict[str, Any]) -> None:
    assert problems(obj) == []


DENIED = ("AccessDenied", "shop/db: not allowed")


@pytest.mark.parametrize(
    ("obj", "problem"),
    [
        (made(READY, READY), "a condition stands twice"),
        (made(READY, observed=None), "status without observedGeneration"),
        (made(READY, observed=3), "generation 3 was observed before it was there"),
        (made(READY, observed=-1), "observedGeneration -1 with 1 conditions"),
        (made(), "observedGeneration 2 with 0 conditions"),
        (made(condition("Suspended", "True", "Suspended", "x")), "there is no Ready"),
        (made(READY, condition("Reconciling", "True", "Progressing", "x")), "Ready beside Reconciling"),
        (made(condition("Ready", "False", *FAILING)), "not Ready, and neither Reconciling nor Stalled"),
        (
            made(condition("Ready", "False", *DENIED), condition("Reconciling", "True", *DENIED), condition("Stalled", "True", *DENIED)),
            "both Reconciling and Stalled",
        ),
        (made(condition("Ready", "Unknown", "Progressing", "x")), "Ready is Unknown, and nothing is suspended"),
        (
            made(condition("Ready", "False", *FAILING), condition("Reconciling", "True", "Stale", "x")),
            "Reconciling says something else than Ready",
        ),
        (made(READY, condition("Stalled", "False", *STUCK)), "stands although it is not True"),
        (made(condition("Ready", "True", observedGeneration=1)), "is about generation 1, the status about 2"),
        (made(condition("Ready", "true")), "status is 'true'"),
        (made(condition("Ready", "True", lastTransitionTime="2026-05-04T03:02:01.5Z")), "lastTransitionTime is '2026-05-04T03:02:01.5Z'"),
        (made(condition("Ready", "True", "all fine")), "True with reason 'all fine'"),
        (made(condition("Ready", "True", "Unheard")), "True with reason 'Unheard'"),
        (made(condition("Ready", "True", "InvalidSpec")), "True with reason 'InvalidSpec'"),
        (made(condition("Ready", "False", *FAILING), condition("Stalled", "True", *FAILING)), "True with reason 'SourceNotFound'"),
        (made(condition("Ready", "True", message="")), "a message of 0 characters"),
        (made(condition("Ready", "True", message="x" * 1025)), "a message of 1025 characters"),
        (made(condition("Ready", "True", message="last read 2026-05-04")), "the message holds a date"),
        (made(condition("Ready", "True", message="last read at 03:02")), "the message holds a time"),
        (made(condition("Ready", "True", message="read at 1777863721")), "the message holds a Unix time"),
        (made(condition("Ready", "True", message="next try in 2.5s")), "the message holds an age or a delay"),
        (made(condition("Ready", "True", message="read a minute ago")), "the message holds an age or a delay"),
        (made(condition("Ready", "True", message="attempt 3")), "the message holds a counter"),
        (made(condition("Ready", "True", message="denied (request 8f1c)")), "the message holds a request's id"),
    ],
)
def test_a_bad_status_is_told(obj: dict[str, Any], problem: str) -> None:
    assert any(problem in told for told in problems(obj)), problems(obj)


def test_the_fields_of_specs_are_no_times_and_no_counters() -> None:
    for message in ("spec.refreshInterval: must be at least 1s; write 90s, 1h30m or 720h", "no answer from 127.0.0.1:8200", "holds 3 keys"):
        assert problems(made(condition("Ready", "True", message=message))) == []


FLIPPED = made(condition("Ready", "True", lastTransitionTime=NOW))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NEW, SYNCED),
        (SYNCED, SYNCED),
        (RECONCILING, FLIPPED),
        (RECONCILING, STALLED),
        (
            made(condition("Ready", "False", "SourceNotFound", "spec.data[0]")),
            made(condition("Ready", "False", "SourceNotFound", "spec.keys")),
        ),
        (made(READY, observed=1), made(condition("Ready", "True", message="app-2 is in sync"))),
        (made(READY, revision="a", lastChangeTime=THEN), made(READY, revision="b", lastChangeTime=NOW)),
        (made(READY, lastCheckTime=THEN), made(READY, lastCheckTime="2026-05-04T03:07:01Z")),
    ],
)
def test_a_good_change_is_let_through(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert changes(before, after) == []


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (SYNCED, FLIPPED, "Ready: lastTransitionTime moved, and status stayed True"),
        (SYNCED, made(READY, observed=1), "observedGeneration fell from 2 to 1"),
        (
            made(condition("Ready", "True", message="app-1 is in sync")),
            made(condition("Ready", "True", message="app-2 is in sync")),
            "the message counts",
        ),
        (made(READY, lastChangeTime=THEN), made(READY, lastChangeTime=NOW), "only lastChangeTime moved"),
        (made(READY, lastCheckTime=THEN), made(READY, lastCheckTime=NOW), "only lastCheckTime moved"),
    ],
)
def test_a_bad_change_is_told(before: dict[str, Any], after: dict[str, Any], problem: str) -> None:
    assert any(problem in told for told in changes(before, after)), changes(before, after)


def test_what_the_summary_makes_is_looked_at_as_it_is_made() -> None:
    managed = Managed(
        ObjectRef(Kind.MANAGED_SECRET, "shop", "app"), "u", 2, "1", deleting=False, order=Order((), Target("app")), status=Status()
    )
    then = moment(THEN)
    assert then
    assert kstatus_plugin.seen() == []
    summary.failed(managed, "SourceNotFound", "shop/db: asked at 03:02", then)
    assert any("the message holds a time" in told for told in kstatus_plugin.seen())
    assert kstatus_plugin.seen() == []
