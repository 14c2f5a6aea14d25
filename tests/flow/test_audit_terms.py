"""Terms in quick succession, and what somebody else put into the trail: an intent is let go in a term that is proven, or not at all."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from flow.trails import ENTRY, OFFICE, Trail, hurry, queue, until
from keyturn.flow.audit_queue import AuditQueue
from keyturn.model.audit import AuditRow, Head, Outcome, Term
from keyturn.model.errors import AuditUnavailable, KeyturnError, NotLeading

__all__ = ["hurry"]

OTHERS = f"999:{'a' * 64}"
"""An end that another leader wrote, which the trail lacks."""


@dataclass
class Gated(Trail):
    """It stops at ``gate`` where somebody wants it to; ``terms`` are those that intents were written in."""

    stops: str = ""
    is_there: asyncio.Event = field(default_factory=asyncio.Event)
    opens: asyncio.Event = field(default_factory=asyncio.Event)
    terms: list[Term | None] = field(default_factory=list)

    async def stop(self, where: str) -> None:
        if self.stops == where:
            self.stops = ""
            self.is_there.set()
            await self.opens.wait()

    async def begin(self, office: str, holder: str, at: datetime) -> Term:
        term = await super().begin(office, holder, at)
        await self.stop("begin")
        return term

    async def open_intents(self, beginning: str = "", after: int = 0, upto: int | None = None) -> Mapping[int, AuditRow]:
        found = await super().open_intents(beginning, after, upto)
        await self.stop("open_intents")
        return found

    async def append(self, rows: Sequence[AuditRow], term: Term | None = None) -> Head:
        if any(not row.outcome for row in rows):
            self.terms.append(term)
        head = await super().append(rows, term)
        await self.stop("append" if rows else "empty")
        return head


@asynccontextmanager
async def stopped(trail: Gated, where: str) -> AsyncIterator[AuditQueue]:
    """A queue whose first term stands still there."""
    trail.stops = where

    async def look() -> Sequence[Head]:
        await trail.stop("look")
        return ()

    async with queue(trail, look=look) as made:
        if where != "append":
            await trail.is_there.wait()
        yield made


async def refused(intent: asyncio.Task[str]) -> KeyturnError:
    with pytest.raises(KeyturnError) as told:
        await asyncio.wait_for(intent, 10)
    return told.value


@pytest.mark.parametrize("where", ["look", "begin", "open_intents", "empty"])
async def test_a_term_that_follows_while_the_last_one_begins_is_held_to_its_own_anchor(where: str) -> None:
    trail = Gated()
    async with stopped(trail, where) as made:
        made.end_term()
        trail.epochs[OFFICE] = 77  # another leader
        made.begin_term(OTHERS)
        intent = asyncio.create_task(made.intend(ENTRY))
        await asyncio.sleep(0)
        trail.opens.set()
        assert "AuditTruncated" in str(await refused(intent))
        assert (trail.rows, made.head) == ([], None)


@pytest.mark.parametrize("where", ["look", "begin", "open_intents", "empty"])
async def test_a_term_that_follows_while_the_last_one_begins_is_proven(where: str) -> None:
    trail = Gated()
    async with stopped(trail, where) as made:
        made.end_term()
        trail.epochs[OFFICE] = 77
        made.begin_term("")
        intent = asyncio.create_task(made.intend(ENTRY))
        await asyncio.sleep(0)
        trail.opens.set()
        await asyncio.wait_for(intent, 10)
    assert [each and each.epoch for each in trail.terms] == [78]


async def test_an_intent_that_is_written_as_the_term_ends_is_not_acted_upon_in_the_next() -> None:
    trail = Gated()
    async with stopped(trail, "append") as made:
        intent = asyncio.create_task(made.intend(ENTRY))
        await trail.is_there.wait()
        made.end_term()
        made.begin_term(OTHERS)
        trail.opens.set()
        assert isinstance(await refused(intent), NotLeading)
        made.begin_term("")
        await until(lambda: len(trail.rows) == 2)
    assert trail.told == [(ENTRY.action, "", ""), (ENTRY.action, "failure", "Cancelled")]


async def test_whoever_was_fenced_in_a_term_that_is_over_goes_on_in_the_present_one() -> None:
    trail, fenced = Gated(), []
    trail.stops = "empty"

    async with queue(trail, on_fenced=lambda: fenced.append(1)) as made:
        await trail.is_there.wait()
        made.end_term()
        made.begin_term("")
        trail.epochs[OFFICE] = 77
        trail.opens.set()
        await asyncio.wait_for(made.intend(ENTRY), 10)
    assert fenced == []
    assert [each and each.epoch for each in trail.terms] == [78]


def planted(mark: str, ending: str, **more: object) -> AuditRow:
    facts = {"keys": (), "details": {}, **more}
    return AuditRow(f"{mark}{ending}", datetime.min.replace(tzinfo=UTC), "dba", "secret.create", "m", "s", "", attempt="", **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ending", "more"),
    [("x\x01", {}), ("x" * 2000, {}), ("\u202e\ud800", {}), ("z", {"keys": (1,)}), ("z", {"details": {"a": 1}}), ("z", {"keys": ({},)})],
)
async def test_an_open_intent_that_nothing_can_settle_is_told_of_once_and_stops_nobody(
    ending: str, more: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    trail = Trail()
    caplog.set_level(logging.ERROR)
    async with queue(trail) as made:
        mark = made._own.actor.office_mark
        trail.rows += [planted(mark, ending, **more), planted(mark, "dead-1")]
        assert await asyncio.wait_for(made.intend(ENTRY), 10)
        made.end_term()
        made.begin_term("")
        assert await asyncio.wait_for(made.intend(ENTRY), 10)
    assert [row.settles for row in trail.rows if row.outcome is Outcome.UNKNOWN] == [f"{mark}dead-1"]
    assert len([each for each in caplog.records if "are not as an operator writes them" in each.message]) == 1


async def test_however_many_of_them_hide_no_dead_intent_behind_them(caplog: pytest.LogCaptureFixture) -> None:
    trail = Trail()
    caplog.set_level(logging.ERROR)
    async with queue(trail) as made:
        mark = made._own.actor.office_mark
        trail.rows += [planted(mark, f"\x01{n}") for n in range(2500)]
        trail.rows += [planted(made._own.actor.mark, f"{n}") for n in range(1500)]
        trail.rows.append(planted(mark, "dead-1"))
        assert await asyncio.wait_for(made.intend(ENTRY), 10)
    assert [row.settles for row in trail.rows if row.outcome is Outcome.UNKNOWN] == [f"{mark}dead-1"]
    told = [each.getMessage() for each in caplog.records if "are not as an operator writes them" in each.message]
    assert len(told) == 1
    assert "2500 open intents" in told[0]


@dataclass
class Odd(Trail):
    """A database that holds what no driver expects."""

    is_odd: bool = True

    async def open_intents(self, beginning: str = "", after: int = 0, upto: int | None = None) -> Mapping[int, AuditRow]:
        if self.is_odd:
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        return await super().open_intents(beginning, after, upto)


async def test_what_no_operator_wrote_is_an_outage_and_never_the_end_of_the_process() -> None:
    trail = Odd()
    async with queue(trail) as made:
        with pytest.raises(AuditUnavailable, match="ask the operators of Keyturn"):
            await made.intend(ENTRY)
        assert made.problem.endswith("(OverflowError): keyturn audit verify")
        trail.is_odd = False
        await until(lambda: not made.problem)
        assert await made.intend(ENTRY)
    assert trail.told == [(ENTRY.action, "", "")]
