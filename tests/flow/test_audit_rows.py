"""What stands in a row: which keys an effect is about, where they come from, and what led to it."""

import dataclasses

import pytest

from builders import managed, msec, order, secret, staged, target_ref
from keyturn.model.audit import AuditEntry, Outcome
from keyturn.model.errors import AccessDenied, Unavailable
from keyturn.model.order import DeletionPolicy
from keyturn.testing.fields import Path
from keyturn.testing.world import Stage

APP, SECRET = msec(), target_ref()
HOUR = 3600
DATA: Path = ("data", "password")


async def stand(stage: Stage, *keys: str) -> None:
    stage.cluster.put(managed("app-db", order(*keys or ("password",))))
    stage.start()
    await stage.quiet()


def rows(stage: Stage, prefix: str = "secret.") -> list[AuditEntry]:
    return [entry for entry, _, _ in stage.audit.entries if entry.action.startswith(prefix)]


def last(stage: Stage, prefix: str = "secret.") -> AuditEntry:
    return rows(stage, prefix)[-1]


@staged
async def test_a_first_secret_is_told_with_its_keys_revision_sources_and_its_uid(stage: Stage) -> None:
    await stand(stage, "password", "user")
    made = last(stage)
    assert (made.action, made.trigger, made.keys) == ("secret.create", "new", ("password", "user"))
    assert made.details["revision"] == stage.status(APP).revision
    assert made.details["target_uid"] == stage.cluster.secrets[SECRET].uid
    assert "before" not in made.details
    assert "password" in made.details["sources"]


@staged
async def test_of_a_new_value_the_key_that_changed_is_named_alone_with_both_revisions(stage: Stage) -> None:
    await stand(stage, "password", "user")
    former = stage.status(APP).revision
    stage.source(password="kt-canary-2")
    await stage.passes(HOUR)
    changed = last(stage)
    assert (changed.action, changed.trigger, changed.keys) == ("secret.change", "source", ("password",))
    assert (changed.details["before"], changed.details["revision"]) == (former, stage.status(APP).revision)
    assert former != stage.status(APP).revision


@staged
async def test_a_process_that_saw_no_former_value_says_that_it_cannot_tell_which_key_changed(stage: Stage) -> None:
    await stand(stage, "password", "user")
    stage.source(password="kt-canary-2")
    await stage.restart()
    await stage.passes(HOUR)
    changed = last(stage)
    assert (changed.keys, changed.details["changed"]) == (("password", "user"), "unknown which")


@staged
async def test_keys_that_come_and_go_by_the_spec_are_told_apart(stage: Stage) -> None:
    await stand(stage, "password", "user")
    stage.source(host="kt-canary-host")
    stage.cluster.edit(APP, order=order("user", "host"))
    await stage.passes(10)
    changed = last(stage)
    assert (changed.trigger, changed.keys) == ("spec", ("host", "password"))
    assert (changed.details["added"], changed.details["removed"]) == ("host", "password")


@staged
async def test_a_repair_is_told_from_a_change_with_who_made_the_edit(stage: Stage) -> None:
    await stand(stage, "password", "user")
    stage.cluster.touch(SECRET, "kubectl", {DATA: secret("kt-canary-e")})
    await stage.passes(10)
    mended = last(stage)
    assert (mended.action, mended.trigger, mended.keys) == ("secret.change", "drift: edited", ("password",))
    assert mended.details["by"] == "kubectl"
    assert "before" not in mended.details
    stage.cluster.vanish(SECRET)
    await stage.passes(10)
    again = last(stage)
    assert (again.action, again.trigger) == ("secret.recreate", "drift: deleted")


@staged
async def test_a_request_stands_with_its_token_where_it_was_read(stage: Stage) -> None:
    await stand(stage)
    await stage.passes(60)
    stage.source(password="kt-canary-2")
    stage.cluster.edit(APP, reconcile_token="abc")
    await stage.passes(10)
    read, changed = last(stage, "provider.read"), last(stage)
    assert (read.subject, read.target, read.trigger) == (str(APP), "SecretProvider/shop/vault", "request abc")
    assert (changed.trigger, changed.attempt) == ("request abc", read.attempt)


@staged
async def test_what_failed_is_tried_again_as_a_retry(stage: Stage) -> None:
    stage.source().values["password"] = Unavailable("no answer")
    await stand(stage)
    stage.source(password="kt-canary-2")
    await stage.passes(600)
    assert rows(stage, "provider.read")[0].trigger == "new"
    assert (last(stage).action, last(stage).trigger) == ("secret.create", "retry")


@staged
async def test_a_type_that_changes_is_a_change_that_was_refused_and_a_replacement(stage: Stage) -> None:
    await stand(stage)
    former = stage.cluster.secrets[SECRET].uid
    stage.cluster.edit(APP, order=order(type="kubernetes.io/basic-auth"))
    await stage.passes(10)
    told = [(entry.action, entry.trigger, outcome, reason) for entry, outcome, reason in stage.audit.entries if entry.target == str(SECRET)]
    assert told[1:] == [
        ("secret.change", "spec", Outcome.FAILURE, "TypeChange"),
        ("secret.replace", "type", Outcome.SUCCESS, ""),
    ]
    assert (last(stage).details["target_uid"], last(stage).details["made_uid"]) == (former, stage.cluster.secrets[SECRET].uid)


@staged
async def test_a_secret_that_goes_is_told_with_its_keys_and_why(stage: Stage) -> None:
    stage.cluster.put(managed("app-db", order(deletion=DeletionPolicy.DELETE)))
    stage.start()
    await stage.quiet()
    former = stage.status(APP).revision
    stage.source().values.clear()
    await stage.passes(HOUR)
    gone = last(stage)
    assert (gone.action, gone.keys, gone.details["before"]) == ("secret.delete", ("password",), former)
    assert gone.details["cause"] == "all its sources are gone"


@staged
async def test_a_pass_is_one_row_with_counts_and_the_names_that_moved(stage: Stage) -> None:
    await stand(stage, "password", "user")
    await stage.passes(HOUR)
    quiet = last(stage, "provider.read")
    assert (quiet.trigger, quiet.keys, quiet.subject) == ("refresh", (), quiet.target)
    assert (quiet.details["asked"], quiet.details["answered"], quiet.details["failed"]) == ("2", "2", "0")
    stage.source(user="kt-canary-2")
    await stage.passes(HOUR)
    [moved] = [entry for entry in rows(stage, "provider.read") if entry.trigger == "refresh" and entry.keys]
    assert moved.keys == ("user",)


@pytest.mark.parametrize("all_of_it", [True, False], ids=["all", "a part"])
@staged
async def test_a_read_that_is_denied_says_so(stage: Stage, *, all_of_it: bool) -> None:
    stage.source().values["password"] = AccessDenied("403")
    await stand(stage, *(("password",) if all_of_it else ("password", "user")))
    entry, outcome, reason = next(each for each in stage.audit.entries if each[0].action == "provider.read")
    assert (outcome, reason) == ((Outcome.DENIED, "AccessDenied") if all_of_it else (Outcome.SUCCESS, ""))
    assert (entry.details["failed"], entry.details["reasons"]) == ("1", "AccessDenied")


@staged
async def test_no_row_holds_a_value(stage: Stage) -> None:
    await stand(stage, "password", "user")
    stage.source(password="kt-canary-2")
    await stage.passes(HOUR)
    assert "kt-canary" not in repr([dataclasses.asdict(entry) for entry, _, _ in stage.audit.entries])
