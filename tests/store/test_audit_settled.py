"""What the fence says is settled is believed no further than it can be seen: open intents of the dead are closed whatever stands there."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from flow.trails import hurry
from keyturn.flow import audit_term
from keyturn.flow.audit_queue import AuditQueue
from keyturn.flow.audit_term import Actor
from keyturn.model.audit import AuditEntry, Outcome
from keyturn.store.audit import AuditTrail
from keyturn.store.audit_tables import log
from keyturn.testing.clock import FakeClock
from store.places import Place
from store.test_audit import AT, KEY, forger, row, trail, unlocked
from store.test_audit_forged import ROW

__all__ = ["hurry"]

OFFICE = "keyturn-system/keyturn"
ENTRY = AuditEntry("secret.create", "ManagedSecret/shop/app", "Secret/shop/app")
MARK = Actor("operator", "a", FakeClock(), OFFICE).office_mark
MIB = 1 << 20


@asynccontextmanager
async def operator(place: Place) -> AsyncIterator[AuditQueue]:
    """One in its term, with a trail of its own; it is killed at the end."""

    async def opened() -> AuditTrail:
        return AuditTrail(place.database(), lambda: ("k1", KEY), lambda _: KEY)

    made = AuditQueue(opened, FakeClock(), "operator", "a", OFFICE)
    made.begin_term("")
    work = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def dead(place: Place, settled: int = 0) -> str:
    """The id of an intent whose maker was killed, behind so many that were settled."""
    async with operator(place) as made:
        for _ in range(settled):
            await made.settle(await made.intend(ENTRY), Outcome.SUCCESS)
        return await made.intend(ENTRY)


async def closed(place: Place) -> dict[str, str]:
    return {each.texts["settles"]: each.texts["reason"] for each in await trail(place).find(log.c.settles != "", most=100)}


async def those_closed(place: Place, *intents: str) -> set[str]:
    """How they were, once they are."""
    async with asyncio.timeout(30):
        while not {*intents} <= {*(found := await closed(place))}:  # noqa: ASYNC110  # the database tells nobody
            await asyncio.sleep(0.01)
    return {found[each] for each in intents}


async def test_rows_that_went_from_the_end_leave_no_number_beyond_it(place: Place) -> None:
    await dead(place, 10)
    await place.execute("UPDATE fence SET settled_to = 20")
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 10")
    assert (await trail(place).begin(OFFICE, "b", AT)).settled_to == 10
    assert [tuple(each) for each in await place.execute("SELECT settled_to FROM fence")] == [(10,)]
    await place.execute("DELETE FROM secret_access_log")
    assert (await trail(place).begin(OFFICE, "b", AT)).settled_to == 0


async def test_an_intent_whose_settlement_went_from_the_end_is_closed(place: Place) -> None:
    async with operator(place) as made:
        intent = await made.intend(ENTRY)
        await made.settle(intent, Outcome.SUCCESS)
        await made.intend(ENTRY)
    await place.execute("UPDATE fence SET settled_to = 1")
    await unlocked(place)
    await place.execute("DELETE FROM secret_access_log WHERE seq > 1")
    async with operator(place):
        assert (await those_closed(place, intent)) == {"ProcessEnded"}


@pytest.mark.parametrize("number", [7, 12, 4 * 10**18])
async def test_whoever_says_that_more_is_settled_hides_no_open_intent(place: Place, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_term, "STRETCH", 5)
    killed = [f"{MARK}dead-{n}" for n in range(12)]
    await trail(place).append([row(each) for each in killed])
    await trail(place).begin(OFFICE, "b", AT)
    await place.execute(f"UPDATE fence SET settled_to = {number}")
    async with operator(place) as made:
        own = await made.intend(ENTRY)
        assert (await those_closed(place, *killed)) == {"ProcessEnded"}
        assert own not in await closed(place)


async def test_a_row_that_is_too_long_keeps_no_others_open_and_ends_no_term(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_term, "STRETCH", 5)
    caplog.set_level(logging.ERROR)
    await trail(place).begin(OFFICE, "b", AT)
    await place.execute(ROW, seq=1, event=f"{MARK}x", details="x" * 9 * MIB, entry=b"{}", hash=bytes(32))
    await forger(place, KEY).append([row(f"e{n}", settles=f"x{n}", outcome=Outcome.SUCCESS) for n in range(8)])
    await place.execute("UPDATE fence SET settled_to = 9")
    killed = await dead(place)
    caplog.clear()
    await place.execute("UPDATE fence SET settled_to = 1000")
    async with operator(place) as made:
        assert (await those_closed(place, killed)) == {"ProcessEnded"}
        assert await made.intend(ENTRY)
    assert "rows 1 to 5 of the audit trail were not looked at for open intents" in caplog.text
    assert caplog.text.count("were not looked at") == 1
