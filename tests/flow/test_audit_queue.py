"""The audit trail of a process: what is written together, what is refused while nothing can be written, and what is never lost."""

import asyncio
from collections.abc import Sequence

import pytest

from flow.trails import ENTRY, OFFICE, Trail, hurry, queue, until
from keyturn.flow import audit_waiting
from keyturn.flow.audit_queue import MOST
from keyturn.flow.audit_waiting import MANY
from keyturn.model.audit import AuditEntry, AuditRow, Head, Outcome
from keyturn.model.errors import AuditUnavailable, Fenced, NotLeading, Unavailable

__all__ = ["hurry"]


async def test_an_intent_is_there_before_it_is_given_and_its_settlement_follows() -> None:
    trail = Trail()
    async with queue(trail) as audit:
        event = await audit.intend(ENTRY)
        [row] = trail.rows
        assert (row.event, row.actor, row.keys, row.attempt, row.outcome) == (event, "operator/a", ("password",), "t1", "")
        await audit.settle(event, Outcome.FAILURE, "Conflict")
    intent, settled = trail.rows
    assert (settled.settles, settled.outcome, settled.reason, settled.subject) == (intent.event, "failure", "Conflict", ENTRY.subject)


async def test_what_gathers_during_a_commit_is_the_next_group() -> None:
    trail = Trail()
    async with queue(trail) as audit:
        await until(lambda: audit.head)
        trail.gate.clear()
        first = asyncio.create_task(audit.intend(ENTRY))
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(audit.intend(ENTRY)) for _ in range(MOST + 7)]
        await asyncio.sleep(0.01)
        trail.gate.set()
        await asyncio.gather(first, *others)
    assert trail.groups == [1, MOST, 7]


async def test_behind_many_rows_the_next_ones_gather_and_behind_a_few_none_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_waiting, "GATHER_S", 1.0)
    trail = Trail()
    async with queue(trail) as made, asyncio.timeout(10):
        for _ in range(20):
            await made.intend(ENTRY)
        assert trail.groups == [1] * 20
        await asyncio.gather(*(made.intend(ENTRY) for _ in range(MANY)))
        late = []
        for _ in range(20):
            late.append(asyncio.create_task(made.intend(ENTRY)))
            await asyncio.sleep(0)
        await asyncio.gather(*late)
    assert trail.groups == [*[1] * 20, MANY, 20]


async def test_while_it_is_down_intents_are_refused_and_settlements_are_kept() -> None:
    trail = Trail()
    async with queue(trail) as audit:
        event = await audit.intend(ENTRY)
        trail.down = Unavailable("the database gave no answer")
        await audit.settle(event, Outcome.SUCCESS)
        for _ in range(3):
            with pytest.raises(AuditUnavailable, match="the database gave no answer"):
                await audit.intend(ENTRY)
        assert audit.problem
        trail.down = None
        await until(lambda: len(trail.rows) == 2)
        await until(lambda: not audit.problem)
        await audit.settle(await audit.intend(ENTRY), Outcome.SUCCESS)
        assert not audit.problem
    assert [row.outcome for row in trail.rows] == ["", "success", "", "success"]


async def test_an_intent_whose_answer_was_lost_is_looked_up_and_settled_as_never_done() -> None:
    trail = Trail(loses_answers=True)
    async with queue(trail) as audit:
        with pytest.raises(AuditUnavailable):
            await audit.intend(ENTRY)
        trail.loses_answers = False
        await until(lambda: not audit.problem)
        await audit.settle(await audit.intend(ENTRY), Outcome.SUCCESS)
    assert [(row.outcome, row.reason) for row in trail.rows if row.settles] == [("failure", "AuditUnavailable"), ("success", "")]
    assert await trail.open_intents() == {}


async def test_a_row_that_the_database_cannot_hold_keeps_no_other_from_it() -> None:
    trail = Trail(refuses="bad")
    async with queue(trail) as audit:
        trail.gate.clear()
        entries = [AuditEntry("secret.create", "m", "bad" if number == 233 else f"s{number}") for number in range(499)]
        jobs = [asyncio.create_task(audit.intend(entry)) for entry in entries]
        await asyncio.sleep(0.01)
        trail.gate.set()
        answers = await asyncio.gather(*jobs, return_exceptions=True)
    assert [number for number, answer in enumerate(answers) if isinstance(answer, AuditUnavailable)] == [233]
    assert len(trail.rows) == 498


async def test_whoever_is_called_off_while_its_intent_is_written_leaves_none_open() -> None:
    trail = Trail()
    async with queue(trail) as audit:
        trail.gate.clear()
        job = asyncio.create_task(audit.intend(ENTRY))
        await asyncio.sleep(0.01)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        trail.gate.set()
        await until(lambda: len(trail.rows) == 2)
    assert trail.told[1] == ("secret.create", "failure", "Cancelled")


async def test_whoever_is_called_off_in_the_moment_in_which_its_intent_is_written_leaves_none_open() -> None:
    trail, loop = Trail(), asyncio.get_running_loop()
    async with queue(trail) as audit:
        trail.gate.clear()
        job = asyncio.create_task(audit.intend(ENTRY))
        await asyncio.sleep(0.01)
        loop.call_soon(trail.gate.set)
        while not trail.rows:  # noqa: ASYNC110  # then its answer is there, and it has not heard of that yet
            await asyncio.sleep(0)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        await until(lambda: len(trail.rows) == 2)
    assert trail.told[1] == ("secret.create", "failure", "Cancelled")


async def test_intents_of_a_process_that_ended_are_closed_before_the_next_effect() -> None:
    trail = Trail()
    async with queue(trail) as before:
        await before.intend(ENTRY)
    async with queue(trail) as after:
        await after.intend(AuditEntry("secret.delete", "m", "s"))
    assert trail.told == [("secret.create", "", ""), ("secret.create", "unknown", "ProcessEnded"), ("secret.delete", "", "")]


async def test_a_new_term_closes_what_another_replica_left_meanwhile() -> None:
    trail = Trail()
    async with queue(trail) as ours:
        await ours.settle(await ours.intend(ENTRY), Outcome.SUCCESS)
        mine = await ours.intend(ENTRY)
        async with queue(trail) as theirs:
            await theirs.intend(ENTRY)
        ours.begin_term("")
        await ours.settle(await ours.intend(ENTRY), Outcome.SUCCESS)
        await ours.settle(mine, Outcome.SUCCESS)
    assert await trail.open_intents() == {}
    # The other one's term closed ours, and ours closed the other's: of neither anybody knows how it ended.
    assert [str(row.outcome) for row in trail.rows if row.settles] == ["success", "unknown", "unknown", "success"]


async def test_without_a_term_nothing_is_intended_and_what_was_done_is_written() -> None:
    trail = Trail()
    async with queue(trail) as audit:
        event = await audit.intend(ENTRY)
        audit.end_term()
        with pytest.raises(NotLeading):
            await audit.intend(ENTRY)
        await audit.settle(event, Outcome.SUCCESS)
        await until(lambda: len(trail.rows) == 2)
    assert trail.epochs == {OFFICE: 1}


async def test_whoever_another_one_followed_intends_nothing_more_and_says_so() -> None:
    trail, told = Trail(), []
    async with queue(trail, on_fenced=lambda: told.append("fenced")) as stale:
        event = await stale.intend(ENTRY)
        async with queue(trail) as successor:
            await successor.intend(ENTRY)
            waiting = [asyncio.create_task(stale.intend(ENTRY)) for _ in range(3)]
            await stale.settle(event, Outcome.SUCCESS)
            assert [type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)] == [Fenced] * 3
            with pytest.raises(NotLeading):
                await stale.intend(ENTRY)
            await until(lambda: stale.lag == 0)
    assert told == ["fenced"]
    # The successor said already that nobody knows.
    assert [(row.outcome, row.reason) for row in trail.rows] == [("", ""), ("unknown", "ProcessEnded"), ("", "")]


async def test_a_term_that_ended_while_the_trail_was_away_takes_no_office_when_it_is_back() -> None:
    trail = Trail(down=Unavailable("the database gave no answer"))
    async with queue(trail) as audit:
        await until(lambda: audit.problem)
        audit.end_term()
        trail.down = None
        await until(lambda: not audit.problem)
    assert trail.epochs == {}


async def test_whoever_acts_in_no_office_closes_nothing_of_others() -> None:
    trail = Trail()
    async with queue(trail) as leader:
        await leader.intend(ENTRY)
        async with queue(trail, office="keyturn-system/keyturn-gpu") as other_class, queue(trail, office="") as command:
            await other_class.intend(ENTRY)
            await command.settle(await command.intend(ENTRY), Outcome.SUCCESS)
        async with queue(trail, office="") as command:
            await command.intend(ENTRY)
    assert [str(row.outcome) for row in trail.rows] == ["", "", "", "success", ""]


async def test_what_was_settled_before_the_end_is_written_at_the_end() -> None:
    trail = Trail()
    async with queue(trail) as audit:
        events = [await audit.intend(ENTRY) for _ in range(3)]
        trail.gate.clear()
        for event in events:
            await audit.settle(event, Outcome.SUCCESS)
            await asyncio.sleep(0.01)  # the first is in a commit that is under way, and the others wait for it
        asyncio.get_running_loop().call_later(0.05, trail.gate.set)
    assert await trail.open_intents() == {}
    with pytest.raises(AuditUnavailable, match="closed"):
        await audit.intend(ENTRY)


async def test_a_trail_that_lacks_what_the_anchor_knows_takes_nothing_until_it_is_there_again() -> None:
    trail = Trail()

    async def look() -> Sequence[Head]:
        return [Head(seq, bytes(32)) for seq in (2, 3) if seq > len(trail.rows)]

    async with queue(trail, look=look) as audit:
        audit.begin_term(str(Head(2, bytes(32))))
        for _ in range(2):
            with pytest.raises(AuditUnavailable, match="ask the operators of Keyturn") as refusal:
                await audit.intend(ENTRY)
            assert ("AuditTruncated" in str(refusal.value), "keyturn audit" in str(refusal.value)) == (True, False)
        assert audit.problem.startswith("AuditTruncated: the database's audit trail lacks row 3,")
        assert audit.problem.endswith(f"acknowledge-loss --anchor 2:{'00' * 32} --anchor 3:{'00' * 32}"), "each end once"
        pod = f"kubectl -n {OFFICE.partition('/')[0]} exec deployment/keyturn -- "
        assert f"{pod}keyturn audit acknowledge-loss --anchor 2:{'00' * 32}" in audit.problem
        assert (trail.rows, audit.head) == ([], None)
        trail.rows += [AuditRow(f"restored-{n}", audit.clock.now(), "operator/b", "a", "s", "t", settles=f"i{n}") for n in range(3)]
        await until(lambda: not audit.problem)
        await audit.intend(ENTRY)
        assert audit.head == Head(4, bytes(32))


@pytest.mark.parametrize("anchor", ["", "forged", "1:ff", "-1:" + "00" * 32])
async def test_a_record_that_was_edited_stops_nobody(anchor: str) -> None:
    async with queue(Trail()) as audit:
        audit.begin_term(anchor)
        assert await audit.intend(ENTRY)
