"""What is counted of the audit trail's work: what did not end well, what it could not take, and for how long rows wait."""

import asyncio
from contextlib import suppress

import pytest

from flow.trails import ENTRY, OFFICE, Trail, hurry, queue, until
from keyturn.audit_log import LogAudit
from keyturn.flow.audit_queue import AuditQueue
from keyturn.handlers.audit_numbers import watch_audit
from keyturn.model.audit import AuditEntry, AuditRow, Head, Outcome
from keyturn.model.errors import AuditUnavailable, Unavailable
from keyturn.telemetry import Metrics
from keyturn.testing.clock import FakeClock

__all__ = ["hurry"]


def number(metrics: Metrics, series: str) -> float:
    lines = metrics.exposition().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


async def ends(audit: AuditQueue | LogAudit) -> Metrics:
    """Something of each sort."""
    watch_audit(metrics := Metrics(), audit, FakeClock())
    await audit.settle(await audit.intend(ENTRY), Outcome.SUCCESS)
    await audit.settle(await audit.intend(ENTRY), Outcome.FAILURE, "Conflict")
    await audit.settle(await audit.intend(ENTRY), Outcome.FAILURE, "what a tenant wrote")
    await audit.settle(await audit.intend(ENTRY), Outcome.UNKNOWN)
    audit.record(AuditEntry("provider.read", "m", "p"), Outcome.DENIED, "AccessDenied")
    audit.record(AuditEntry("managedsecret.end", "m", "p"), Outcome.SUCCESS)
    return metrics


@pytest.mark.parametrize("kept", ["in a database", "in the log"])
async def test_what_did_not_end_well_is_counted_by_action_and_by_no_word_that_a_tenant_may_choose(kept: str) -> None:
    if kept == "in a database":
        async with queue(Trail()) as audit:
            metrics = await ends(audit)
    else:
        metrics = await ends(LogAudit())
    told = [line for line in metrics.exposition().decode().splitlines() if line.startswith("keyturn_access_failures_total")]
    assert sorted(told) == [
        'keyturn_access_failures_total{action="provider.read",outcome="denied",reason="AccessDenied"} 1.0',
        'keyturn_access_failures_total{action="secret.create",outcome="failure",reason="Conflict"} 1.0',
        'keyturn_access_failures_total{action="secret.create",outcome="failure",reason="Other"} 1.0',
        'keyturn_access_failures_total{action="secret.create",outcome="unknown",reason="Other"} 1.0',
    ]


async def test_rows_that_wait_are_shown_with_the_age_of_the_oldest_and_the_end_that_is_known() -> None:
    trail = Trail()
    async with queue(trail) as audit:
        watch_audit(metrics := Metrics(), audit, FakeClock())
        assert number(metrics, "keyturn_audit_oldest_waiting_seconds") == 0
        await audit.settle(await audit.intend(ENTRY), Outcome.SUCCESS)
        trail.down = Unavailable("the database gave no answer")
        audit.record(ENTRY, Outcome.DENIED, "AccessDenied")
        await until(lambda: number(metrics, "keyturn_audit_failures_total"))
        assert number(metrics, "keyturn_audit_up") == 0
        assert number(metrics, "keyturn_audit_waiting_rows") >= 1
        assert number(metrics, "keyturn_audit_oldest_waiting_seconds") > 0
        with suppress(AuditUnavailable):
            await audit.intend(ENTRY)
        assert number(metrics, "keyturn_audit_failures_total") > 1
        trail.down = None
        await until(lambda: not number(metrics, "keyturn_audit_waiting_rows"))
        assert number(metrics, "keyturn_audit_head_seq") == len(trail.rows) == 3
        assert number(metrics, "keyturn_audit_oldest_waiting_seconds") == 0


async def test_rows_that_can_never_be_written_are_counted() -> None:
    async with queue(Trail(refuses="bad")) as audit:
        watch_audit(metrics := Metrics(), audit, FakeClock())
        entries: list[AuditEntry] = [AuditEntry("secret.create", "m", target) for target in ("good", "bad", "good", "bad")]
        told = await asyncio.gather(*map(audit.intend, entries), return_exceptions=True)
        assert [isinstance(each, str) for each in told] == [True, False, True, False]
        assert number(metrics, "keyturn_audit_refused_rows_total") == 2
        assert number(metrics, "keyturn_audit_failures_total") == 0


async def test_the_age_of_the_newest_checkpoint_and_what_is_spooled_are_shown() -> None:
    clock, audit = FakeClock(), LogAudit()
    watch_audit(metrics := Metrics(), audit, clock)
    assert number(metrics, "keyturn_audit_checkpoint_age_seconds") == 0
    assert number(metrics, "keyturn_audit_spool_bytes") == 0
    signed_at = clock.now()
    audit.counts.signed_at = lambda: signed_at
    audit.counts.spooled = lambda: 4096
    clock.jump(3600)
    assert number(metrics, "keyturn_audit_checkpoint_age_seconds") == pytest.approx(3600, abs=60)
    assert number(metrics, "keyturn_audit_spool_bytes") == 4096


class Slow(Trail):
    """One that is looked at no sooner than a test wants it."""

    async def holds(self, anchor: Head, writer: str = "") -> bool:
        await self.gate.wait()
        return await super().holds(anchor, writer)


@pytest.mark.parametrize("fails", [False, True])
async def test_the_trail_is_up_once_it_was_looked_at_and_its_last_row_is_kept_over_the_terms(*, fails: bool) -> None:
    trail = Slow()
    trail.gate.clear()
    async with queue(trail) as audit:
        watch_audit(metrics := Metrics(), audit, FakeClock())
        await asyncio.sleep(0)
        assert (number(metrics, "keyturn_audit_up"), number(metrics, "keyturn_audit_head_seq")) == (0, 0)
        trail.gate.set()
        await until(lambda: number(metrics, "keyturn_audit_up"))
        await audit.intend(ENTRY)
        assert number(metrics, "keyturn_audit_head_seq") == 1
        audit.end_term()
        assert (number(metrics, "keyturn_audit_up"), number(metrics, "keyturn_audit_head_seq")) == (1, 1)
        trail.gate.clear()
        if fails:
            trail.down = Unavailable("the database gave no answer")
        audit.begin_term("1:" + "0" * 64)
        for _ in range(10):
            await asyncio.sleep(0)
            assert (number(metrics, "keyturn_audit_up"), number(metrics, "keyturn_audit_head_seq")) == (0, 1)
        trail.down = None
        trail.gate.set()
        await until(lambda: number(metrics, "keyturn_audit_up"))
        assert number(metrics, "keyturn_audit_head_seq") == len(trail.rows)


async def test_the_trail_of_a_replica_that_stands_by_is_up_once_it_was_looked_at() -> None:
    trail = Trail(rows=[AuditRow.of(ENTRY, "e", FakeClock().now(), "operator/b", "", Outcome.SUCCESS)])
    trail.gate.clear()

    async def opened() -> Trail:
        return trail

    audit = AuditQueue(opened, FakeClock(), "operator", "b", OFFICE)
    watch_audit(metrics := Metrics(), audit, FakeClock())
    work = asyncio.create_task(audit.run())
    await asyncio.sleep(0)
    assert number(metrics, "keyturn_audit_up") == 0
    trail.gate.set()
    await until(lambda: number(metrics, "keyturn_audit_up"))
    assert number(metrics, "keyturn_audit_head_seq") == 1
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_the_trail_in_the_log_is_always_up() -> None:
    watch_audit(metrics := Metrics(), LogAudit(), FakeClock())
    assert number(metrics, "keyturn_audit_up") == 1
