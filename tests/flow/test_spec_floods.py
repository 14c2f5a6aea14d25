"""Whoever edits, makes and deletes its objects in a loop makes some rows, and no spec that came to stay and no effect goes without one."""

import asyncio
from dataclasses import replace

from builders import managed, msec, order, provider, sprov, staged, target_ref
from flow.test_audit_notes import notes
from keyturn.flow.budgets import Budget, Budgets, Own
from keyturn.flow.world import SPECS_OF_NAMESPACE, SPECS_OF_OBJECT
from keyturn.model.audit import AuditEntry
from keyturn.model.errors import AccessDenied, Busy
from keyturn.model.ids import Kind, ObjectRef
from keyturn.model.order import FileConfig, ProviderOrder
from keyturn.testing.world import Stage

VAULT, APP = sprov(), msec()
AT_ONCE = int(SPECS_OF_OBJECT.burst)


async def edit(stage: Stage, ref: ObjectRef, times: int) -> None:
    """Each edit is seen alone."""
    for turn in range(times):
        stage.cluster.edit(ref, order=ProviderOrder(FileConfig(f"root-{turn}")))
        await stage.quiet()


def told(stage: Stage, action: str = "provider.configure") -> list[AuditEntry]:
    return [entry for entry, _ in notes(stage, action)]


def generations(entries: list[AuditEntry]) -> list[int]:
    """All that rows tell of, in their order: each with those before it that it says are no rows."""
    found: list[int] = []
    for entry in entries:
        last = int(entry.details["generation"])
        more = entry.details.get("more", f"generations {last} to").split()
        found += range(int(more[1]), last + 1)
    return found


@staged
async def test_a_provider_that_is_edited_without_end_is_told_some_times_and_in_the_end_as_it_stands(stage: Stage) -> None:
    stage.start()
    await stage.quiet()
    await edit(stage, VAULT, 300)
    assert len(told(stage)) == AT_ONCE
    assert len(told(stage, "provider.check")) == AT_ONCE, "each of them is a log-in"
    await stage.passes(61)
    assert generations(told(stage)) == list(range(1, 302))
    assert told(stage)[-1].details["more"] == f"generations {AT_ONCE + 1} to 300 are no rows"
    rows = len(told(stage))
    await stage.passes(6 * 3600)
    assert len(told(stage)) == rows, "what is told is not told again"
    found = stage.world.objects.provider(VAULT)
    assert found is not None
    assert found.status.generation == 301


@staged
async def test_an_operator_that_ends_meanwhile_leaves_the_last_spec_to_the_next_one(stage: Stage) -> None:
    stage.start()
    await stage.quiet()
    await edit(stage, VAULT, 50)
    await stage.restart()
    await stage.passes(60)
    assert generations(told(stage)) == list(range(1, 52))


@staged
async def test_who_reads_by_a_provider_does_not_wait_for_its_look(stage: Stage) -> None:
    stage.start()
    await stage.quiet()
    await edit(stage, VAULT, 50)
    stage.source("root-49", password="kt-canary-new")
    stage.cluster.put(managed())
    await stage.quiet()
    assert (stage.data(target_ref()), len(told(stage))) == ({"password": "kt-canary-new"}, AT_ONCE)
    assert [entry.details["generation"] for entry in told(stage, "provider.read")] == ["51"]
    assert {entry.details["generation"] for entry in told(stage, "provider.check")} == {str(number) for number in range(1, AT_ONCE + 1)}


@staged
async def test_an_admins_provider_is_told_with_every_spec(stage: Stage) -> None:
    wide = ObjectRef(Kind.CLUSTER_SECRET_PROVIDER, "", "wide")
    stage.cluster.put(provider("wide", kind=wide.kind))
    stage.start()
    await stage.quiet()
    await edit(stage, wide, 100)
    assert [entry.details["generation"] for entry in told(stage) if entry.subject == str(wide)] == [str(number) for number in range(1, 102)]


@staged
async def test_providers_that_come_and_go_are_told_some_times_and_their_end_where_their_begin_was(stage: Stage) -> None:
    stage.start()
    await stage.quiet()
    for number in range(1500):
        stage.cluster.put(provider(f"p{number}"))
        await stage.quiet()
        stage.cluster.remove(sprov(f"p{number}"))
    begun, ended = told(stage), told(stage, "provider.end")
    assert len(begun) == SPECS_OF_NAMESPACE.burst
    assert [entry.subject for entry in ended] == [entry.subject for entry in begun if entry.subject != str(VAULT)]
    stage.cluster.put(provider("last"))
    await stage.passes(SPECS_OF_NAMESPACE.each_s + 1)
    assert told(stage)[-1].subject == "SecretProvider/shop/last"


@staged
async def test_providers_of_one_namespace_wait_for_no_other(stage: Stage) -> None:
    stage.start()
    for number in range(1100):
        stage.cluster.put(provider(f"p{number}"))
    stage.cluster.put(replace(provider(), ref=sprov("vault", "bank")))
    await stage.quiet()
    assert [entry.subject for entry in told(stage)].count("SecretProvider/bank/vault") == 1
    assert len(told(stage)) == SPECS_OF_NAMESPACE.burst + 1
    await stage.passes(102 * SPECS_OF_NAMESPACE.each_s)
    assert len({entry.subject for entry in told(stage)}) == 1102, "all have their turn"


@staged
async def test_what_never_had_a_secret_ends_without_a_row_and_what_had_one_never_does(stage: Stage) -> None:
    stage.source().values["password"] = AccessDenied("no right to read it")
    stage.source().values["token"] = "kt-canary-1"
    stage.start()
    for turn in range(300):
        name, key = f"app-{turn}", "token" if turn % 3 == 0 else "password"
        stage.cluster.put(managed(name, order(key, target=name)))
        await stage.quiet()
        stage.cluster.remove(msec(name))
    made = [entry.subject for entry in told(stage, "secret.create")]
    assert [entry.subject for entry in told(stage, "managedsecret.end")] == made
    assert len(made) == 100


@staged
async def test_an_object_whose_status_does_not_say_yet_that_it_has_a_secret_ends_with_a_row(stage: Stage) -> None:
    stage.cluster.fail("status", Busy("503"), times=100)
    stage.cluster.put(managed())
    stage.start()
    await stage.quiet()
    assert target_ref() in stage.cluster.secrets
    assert stage.status(APP).target is None
    stage.cluster.remove(APP)
    [entry] = told(stage, "managedsecret.end")
    assert entry.subject == str(APP)


@staged
async def test_an_object_that_goes_while_its_secret_is_written_ends_with_a_row(stage: Stage) -> None:
    gate = stage.cluster.hold("create")
    stage.cluster.put(managed())
    stage.start()
    await stage.until(lambda: target_ref() in stage.cluster.secrets)
    stage.cluster.remove(APP)
    gate.set()
    await asyncio.wait_for(stage.quiet(), 10)
    assert [entry.subject for entry in told(stage, "managedsecret.end")] == [str(APP)]


def test_who_may_not_yet_takes_from_neither_budget_and_is_told_when() -> None:
    made, own = Budgets(Budget(2, 60), Budget(3, 10)), Own()
    assert [made.wait_s("shop", own, 0.0) for _ in range(4)] == [0, 0, 60, 60]
    assert [made.wait_s("shop", Own(), 0.0) for _ in range(3)] == [0, 10, 10]
    assert made.wait_s("shop", own, 45.0) == 15
    assert made.wait_s("shop", own, 60.0) == 0
