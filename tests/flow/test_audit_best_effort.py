"""With a spool changes go on while the trail is away, and their rows come to the trail in their order, once."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flow.trails import ENTRY, OFFICE, Trail, hurry, queue, until
from keyturn.model.audit import AuditEntry, Head, Outcome
from keyturn.model.errors import AuditUnavailable, Unavailable
from keyturn.model.keys import MasterKeys
from keyturn.store.audit_spool import AuditSpool

__all__ = ["hurry"]

KEYS = MasterKeys.of({"SECRET_KEY": secrets.token_urlsafe(48)})
AWAY = Unavailable("the database gave no answer")


async def masters() -> MasterKeys:
    return KEYS


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[AuditSpool]:
    made = AuditSpool(tmp_path / "audit.spool", masters, iterations=1000)
    await made.open()
    yield made
    await made.close()


def entry(number: int) -> AuditEntry:
    return AuditEntry("secret.change", "m", f"s{number}")


async def test_what_is_spooled_comes_to_the_trail_in_its_order_and_what_is_new_after_it(spool: AuditSpool) -> None:
    trail = Trail()
    async with queue(trail, spool=spool) as audit:
        await audit.settle(await audit.intend(entry(0)), Outcome.SUCCESS)
        trail.down = AWAY
        for number in range(1, 6):
            await audit.settle(await audit.intend(entry(number)), Outcome.SUCCESS)
        assert audit.problem
        await until(lambda: spool.rows == 10)
        trail.down = None
        await until(lambda: not audit.problem)
        await audit.settle(await audit.intend(entry(6)), Outcome.SUCCESS)
    assert spool.rows == 0
    assert [(row.target, str(row.outcome)) for row in trail.rows] == [(f"s{n}", o) for n in range(7) for o in ("", "success")]
    assert len({row.event for row in trail.rows}) == len(trail.rows)


async def test_a_group_whose_answer_was_lost_is_there_once(spool: AuditSpool) -> None:
    trail = Trail(loses_answers=True)
    async with queue(trail, spool=spool) as audit:
        await audit.settle(await audit.intend(ENTRY), Outcome.SUCCESS)
        trail.loses_answers = False
        await until(lambda: not audit.problem)
    assert trail.told == [("secret.create", "", ""), ("secret.create", "success", "")]


async def test_what_a_killed_process_spooled_comes_before_all_else_and_is_closed(tmp_path: Path) -> None:
    trail = Trail()
    killed = AuditSpool(tmp_path / "audit.spool", masters, iterations=1000)
    async with queue(trail, spool=killed) as audit:
        await audit.settle(await audit.intend(entry(0)), Outcome.SUCCESS)
        await until(lambda: len(trail.rows) == 2)
        trail.down = AWAY
        await audit.settle(await audit.intend(entry(1)), Outcome.SUCCESS)
        await audit.intend(entry(2))
        await until(lambda: killed.rows == 3)
    await killed.close()
    trail.down = None
    found = AuditSpool(tmp_path / "audit.spool", masters, iterations=1000)
    await found.open()
    async with queue(trail, spool=found) as audit:
        await audit.intend(entry(3))
    await found.close()
    told = [(row.target, str(row.outcome), row.reason) for row in trail.rows]
    assert told[2:] == [("s1", "", ""), ("s1", "success", ""), ("s2", "", ""), ("s2", "unknown", "ProcessEnded"), ("s3", "", "")]


async def test_a_full_spool_refuses_changes_says_so_and_loses_no_settlement(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trail = Trail(down=AWAY)
    spool = AuditSpool(tmp_path / "audit.spool", masters, iterations=1000, largest=3000)
    async with queue(trail, spool=spool) as audit:
        tried = [await asyncio.gather(audit.intend(ENTRY), return_exceptions=True) for _ in range(20)]
        done = [given for [given] in tried if isinstance(given, str)]
        refused = [str(given) for [given] in tried if isinstance(given, AuditUnavailable)]
        assert refused
        assert set(refused) == {str(AWAY)}, "where the spool lies is for nobody else"
        assert any("the spool of the audit trail is full" in told for told in caplog.messages)
        for event in done:
            await audit.settle(event, Outcome.SUCCESS)
        trail.down = None
        await until(lambda: len(trail.rows) == 2 * len(done))
        await until(lambda: not audit.problem)
        await audit.settle(await audit.intend(ENTRY), Outcome.SUCCESS)
    assert done
    assert await trail.open_intents() == {}
    await spool.close()


async def test_lost_rows_of_the_trail_are_no_outage_and_nothing_is_spooled(spool: AuditSpool) -> None:
    trail = Trail()
    async with queue(trail, spool=spool) as audit:
        audit.begin_term(str(Head(2, bytes(32))))
        with pytest.raises(AuditUnavailable, match="AuditTruncated"):
            await audit.intend(ENTRY)
    assert spool.rows == 0


async def test_many_at_once_lose_nothing_while_the_trail_comes_and_goes(spool: AuditSpool) -> None:
    trail = Trail()
    async with queue(trail, spool=spool) as audit:

        async def act(number: int) -> None:
            for _ in range(10):
                event = await audit.intend(entry(number))
                await asyncio.sleep(0.001)
                await audit.settle(event, Outcome.SUCCESS)

        jobs = [asyncio.create_task(act(number)) for number in range(20)]
        while not all(job.done() for job in jobs):
            trail.down = AWAY if trail.down is None else None
            await asyncio.sleep(0.013)
        await asyncio.gather(*jobs)
        trail.down = None
        await until(lambda: len(trail.rows) == 400)
    assert len({row.event for row in trail.rows}) == 400
    order = {row.event: place for place, row in enumerate(trail.rows)}
    assert all(order[row.settles] < place for place, row in enumerate(trail.rows) if row.settles)
    assert trail.epochs == {OFFICE: 1}
