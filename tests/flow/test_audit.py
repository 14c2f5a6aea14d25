"""No audit, no change: an intent before each effect and its settlement after."""

import asyncio

import pytest

from builders import managed, msec, order, secret, staged, target_ref
from keyturn.model.audit import AuditEntry, Outcome
from keyturn.model.errors import Busy, Forbidden, Unavailable
from keyturn.model.order import DeletionPolicy
from keyturn.testing.fields import Path
from keyturn.testing.world import Stage

APP, SECRET = msec(), target_ref()
DATA: Path = ("data", "password")
EFFECTS = ("create", "apply", "strip", "delete")


async def stand(stage: Stage, what: object = None) -> None:
    stage.cluster.put(managed("app-db", what or order()))  # type: ignore[arg-type]  # an Order
    stage.start()
    await stage.quiet()
    stage.tape.rewind()


def is_write(entry: AuditEntry) -> bool:
    return entry.action.startswith("secret.")


def is_any_read(entry: AuditEntry) -> bool:
    return entry.action.startswith("provider.")


def assert_framed(stage: Stage) -> None:
    """Every effect on a Secret stands between an intent on that Secret and its settlement."""
    opened: set[str] = set()
    for line in stage.tape.lines:
        verb, rest = line.split(" ", 1)
        if verb == "intend" and rest.startswith("secret."):
            opened.add(rest.split(" ")[1])
        elif verb == "settle" and rest.startswith("secret."):
            opened.clear()
        elif verb in EFFECTS:
            assert rest in opened, f"{line} without an intent before it"
    assert stage.audit.open_intents == []


async def change(stage: Stage) -> None:
    stage.source(password="kt-canary-2")
    await stage.passes(3600)


async def drift(stage: Stage) -> None:
    stage.cluster.touch(SECRET, "kubectl", {DATA: secret("kt-canary-e")})
    await stage.passes(10)


async def vanish(stage: Stage) -> None:
    stage.cluster.vanish(SECRET)
    await stage.passes(10)


async def rename(stage: Stage) -> None:
    stage.cluster.edit(APP, order=order(target="new"))
    await stage.passes(10)


async def retype(stage: Stage) -> None:
    stage.cluster.edit(APP, order=order(type="kubernetes.io/basic-auth"))
    await stage.passes(10)


async def drop_key(stage: Stage) -> None:
    stage.cluster.edit(APP, order=order("user"))
    await stage.passes(10)


async def all_gone(stage: Stage) -> None:
    stage.cluster.edit(APP, order=order(deletion=DeletionPolicy.DELETE))
    stage.source().values.clear()
    await stage.passes(3600)


STORIES = [change, drift, vanish, rename, retype, drop_key, all_gone]


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
@staged
async def test_every_effect_stands_between_intent_and_settlement(stage: Stage, story) -> None:  # type: ignore[no-untyped-def]  # one of STORIES
    await stand(stage)
    await story(stage)
    assert stage.tape.only(*EFFECTS)
    assert_framed(stage)


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
@staged
async def test_without_audit_there_is_no_effect_and_it_is_said(stage: Stage, story) -> None:  # type: ignore[no-untyped-def]  # one of STORIES
    await stand(stage)
    stage.audit.is_down_for = is_write
    await story(stage)
    assert stage.tape.only(*EFFECTS) == []
    assert stage.reason(APP) == "AuditUnavailable"
    stage.audit.is_down_for = lambda _: False
    stage.tape.rewind()
    await stage.passes(600)
    assert stage.tape.only(*EFFECTS), "it is done when the audit trail is back"
    assert_framed(stage)


@staged
async def test_without_audit_no_new_value_is_read(stage: Stage) -> None:
    stage.audit.is_down = True
    await stand(stage)
    assert stage.source().calls == []
    assert stage.reason(APP) == "AuditUnavailable"
    stage.audit.is_down = False
    await stage.passes(60)
    assert stage.reason(APP) == "Synced"


@staged
async def test_an_audit_outage_does_not_touch_objects_without_a_pending_change(stage: Stage) -> None:
    await stand(stage)
    stage.audit.is_down = True
    await stage.passes(2 * 3600)
    assert stage.tape.only("status", "status-provider") == []
    assert stage.reason(APP) == "Synced"


@pytest.mark.parametrize(
    ("after", "outcome"), [(False, Outcome.DENIED), (True, Outcome.UNKNOWN)], ids=["refused by the server", "answer lost"]
)
@staged
async def test_a_failed_effect_is_settled_as_what_is_known_of_it(stage: Stage, outcome: Outcome, *, after: bool) -> None:
    error = Busy("no answer") if after else Forbidden("403", status=403)
    stage.cluster.fail("create", error, after=after)
    stage.cluster.put(managed())
    await stage.settle(APP)
    [settled] = [outcome for entry, outcome, _ in stage.audit.entries if entry.action == "secret.create"]
    assert settled is outcome


@pytest.mark.parametrize("verb", ["create", "apply"])
@staged
async def test_a_cancelled_write_is_settled_as_unknown(stage: Stage, verb: str) -> None:
    stage.cluster.put(managed())
    if verb == "apply":
        await stage.settle(APP)
        stage.cluster.touch(SECRET, "kubectl", {DATA: secret("kt-canary-e")})
    stage.tape.rewind()
    stage.cluster.hold(verb)
    job = asyncio.create_task(stage.settle(APP))
    await stage.until(lambda: stage.tape.only(verb))
    for _ in range(5):
        await asyncio.sleep(0)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    entry, outcome, _ = stage.audit.entries[-1]
    assert entry.action.startswith("secret.")
    assert outcome is Outcome.UNKNOWN


@staged
async def test_a_stop_lets_a_write_under_way_finish(stage: Stage) -> None:
    stage.cluster.put(managed())
    answer = stage.cluster.hold("create")
    stage.start()
    await stage.until(lambda: SECRET in stage.cluster.secrets)
    stop = asyncio.create_task(stage.close())
    for _ in range(5):
        await asyncio.sleep(0)
    answer.set()
    await stop
    assert stage.audit.open_intents == []
    assert stage.reason(APP) == "Synced", "its answer reached audit and status"


@staged
async def test_entries_name_keys_and_revisions_and_no_value(stage: Stage) -> None:
    await stand(stage, order("password", "user"))
    created = next(entry for entry, _, _ in stage.audit.entries if entry.action == "secret.create")
    assert created.keys == ("password", "user")
    assert created.details["revision"] == stage.status(APP).revision
    assert "kt-canary" not in repr(stage.audit.entries)


@staged
async def test_a_read_that_fails_is_settled_with_its_reason(stage: Stage) -> None:
    stage.source().down = Unavailable("no answer")
    stage.cluster.put(managed())
    await stage.settle(APP)
    assert [(e.action, o, r) for e, o, r in stage.audit.entries] == [("provider.read", Outcome.FAILURE, "ProviderUnavailable")]
    assert is_any_read(stage.audit.entries[0][0])
