"""What is said of the audit trail in the operator's own namespace, where it takes nothing until a person acts."""

import asyncio
from dataclasses import dataclass, field

import pytest

from keyturn.flow.audit_alarm import Alarm
from keyturn.testing.clock import play


@dataclass
class Trail:
    """What the alarm looks at, and what it told: (kind, reason, note)."""

    problem: str = ""
    leads: bool = True
    told: list[tuple[str, str, str]] = field(default_factory=list)

    async def minutes(self, count: float) -> None:
        await asyncio.sleep(count * 60)

    async def watched(self) -> "asyncio.Task[None]":
        alarm = Alarm(lambda: self.problem, lambda *told: self.told.append(told), asyncio.get_running_loop().time, lambda: self.leads)
        return asyncio.create_task(alarm.run())


@pytest.mark.parametrize("reason", ["AuditTruncated", "AuditKeyLost", "AuditTampered"])
def test_what_no_waiting_mends_is_a_warning_at_once_and_hourly(reason: str) -> None:
    async def story() -> None:
        trail, problem = Trail(), f"{reason}: why, and what helps"
        job = await trail.watched()
        await trail.minutes(1)
        assert trail.told == []
        trail.problem = problem
        await trail.minutes(1)
        assert trail.told == [("Warning", reason, problem)]
        await trail.minutes(58)
        assert len(trail.told) == 1, "one an hour at most"
        await trail.minutes(5)
        assert trail.told == [("Warning", reason, problem)] * 2
        trail.problem = ""
        await trail.minutes(120)
        assert len(trail.told) == 2
        job.cancel()

    play(story)


def test_an_outage_is_none_and_who_stands_by_tells_nothing() -> None:
    async def story() -> None:
        trail = Trail("the database gave no answer")
        job = await trail.watched()
        await trail.minutes(1)
        trail.leads, trail.problem = False, "AuditTruncated: rows are lost"
        await trail.minutes(1)
        assert trail.told == []
        job.cancel()

    play(story)
