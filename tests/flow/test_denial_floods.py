"""Whoever is denied as often as it likes makes some rows and few checkpoints, and takes from nobody what repairs need."""

import asyncio
from dataclasses import replace

import pytest

from builders import managed, msec, staged
from flow.test_audit_notes import denials, notes
from flow.test_checkpoints import Desk, played
from flow.trails import ENTRY, Trail, hurry, queue, until
from keyturn.flow.audit_queue import KEPT
from keyturn.flow.budgets import MOST_NAMESPACES, Own
from keyturn.flow.denials import OF_NAMESPACE, OF_OBJECT, Denials
from keyturn.model.audit import AuditEntry, Outcome
from keyturn.model.errors import AccessDenied, AuditUnavailable, Unavailable
from keyturn.testing.world import Stage

__all__ = ["hurry"]

DENIAL = AuditEntry("sync.deny", "ManagedSecret/evil/x", "ClusterSecretProvider/vault", details={"message": "no"})


@staged
async def test_requests_without_end_are_some_rows_and_the_next_one_counts_the_others(stage: Stage) -> None:
    stage.source().values["password"] = AccessDenied("no right to read it")
    stage.cluster.put(managed("app-db"))
    stage.start()
    await stage.quiet()
    for turn in range(200):
        stage.cluster.edit(msec(), reconcile_token=f"t{turn}")
        await stage.quiet()
    assert len(denials(stage)) == OF_OBJECT.burst
    await stage.passes(3600)
    [*_, (last, _)] = notes(stage, "sync.deny")
    assert len(denials(stage)) == OF_OBJECT.burst + 1
    assert int(last.details["more"].split()[0]) >= 200 - OF_OBJECT.burst
    told = len(denials(stage))
    await stage.passes(6 * 3600)
    assert len(denials(stage)) == told, "what is told is not told again"


@staged
async def test_a_server_that_words_its_refusal_anew_each_time_makes_few_rows(stage: Stage) -> None:
    stage.cluster.put(managed("app-db"))
    stage.start()
    await stage.quiet()
    for turn in range(400):
        word = "".join(chr(ord("a") + int(digit)) for digit in str(turn))
        stage.source().values["password"] = AccessDenied(f"no, and {word}")
        stage.cluster.edit(msec(), reconcile_token=f"t{turn}")
        await stage.passes(1)
    assert OF_OBJECT.burst <= len(denials(stage)) <= OF_OBJECT.burst + 400 / 60 + 1


def test_objects_that_come_and_go_share_what_their_namespace_may_and_take_nothing_from_others() -> None:
    made = Denials()
    told = [made.admit("evil", Own(), 0.0) for _ in range(1000)]
    assert len([each for each in told if each is not None]) == OF_NAMESPACE.burst
    assert made.admit("shop", Own(), 0.0) == 0
    assert made.admit("evil", Own(), 60.0) == 1000 - OF_NAMESPACE.burst
    assert made.admit("evil", Own(), 61.0) is None


def test_an_object_waits_for_its_own_budget() -> None:
    made, own = Denials(), Own()
    assert [made.admit("shop", own, 1e9) for _ in range(10)] == [0] * 10
    assert made.admit("shop", own, 1e9) is None
    assert made.admit("shop", Own(), 1e9) == 1
    assert made.admit("shop", own, 1e9 + 61) == 0


def test_budgets_that_are_whole_again_are_forgotten() -> None:
    made = Denials()
    for number in range(10 * MOST_NAMESPACES):
        made.admit(f"n{number}", Own(), number * 10.0)
    assert len(made.budgets._shared) <= MOST_NAMESPACES


async def test_denials_while_the_database_is_away_leave_room_for_repairs_and_for_what_is_no_denial() -> None:
    trail = Trail()
    async with queue(trail, keeps_repairs=True) as made:
        await until(lambda: made.head)
        trail.down = Unavailable("away")
        with pytest.raises(AuditUnavailable):
            await made.intend(ENTRY)
        for _ in range(KEPT + 1):
            made.record(DENIAL, Outcome.DENIED, "AccessDenied")
        made.record(replace(DENIAL, action="operator.leave"), Outcome.SUCCESS)
        for _ in range(KEPT):
            made.record(replace(DENIAL, action="provider.configure"), Outcome.SUCCESS)
        for number in range(KEPT // 4):
            repair = replace(ENTRY, repairs=True, target=f"Secret/shop/{number}")
            await made.settle(await asyncio.wait_for(made.intend(repair), 10), Outcome.SUCCESS)
        trail.down = None
        await until(lambda: not made.lag)
    kept = [row.action for row in trail.rows]
    assert [kept.count(action) for action in ("sync.deny", "operator.leave", ENTRY.action)] == [KEPT // 4, 1, KEPT // 2]


@played
async def test_denials_without_end_make_one_checkpoint_in_forty_seconds(desk: Desk) -> None:
    await desk.made.look()
    desk.book.pressing = set(range(10_000))
    for second in range(1, 3601):
        desk.book.rows = second
        await asyncio.sleep(1)
    assert 55 <= len(desk.book.written) <= 91


@played
async def test_a_look_of_a_term_that_is_over_lets_nothing_be_signed_in_the_next(desk: Desk) -> None:
    opened, gate = desk.made.open, asyncio.Event()

    async def slow() -> object:
        await gate.wait()
        return await opened()

    desk.made.open = slow  # type: ignore[assignment]
    look = asyncio.create_task(desk.made.look())
    await asyncio.sleep(1)
    desk.made.begin_term("")
    gate.set()
    await look
    await desk.made.close()
    assert desk.book.written == []
