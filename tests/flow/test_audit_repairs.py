"""What a process writes of repairs while its trail is away."""

import pytest

from flow.trails import ENTRY, Trail, hurry, queue, until
from keyturn.flow import audit_queue
from keyturn.model.audit import AuditEntry, Head, Outcome
from keyturn.model.errors import AuditUnavailable, Unavailable

__all__ = ["hurry"]

REPAIR = AuditEntry("secret.recreate", "ManagedSecret/shop/app", "Secret/shop/app", repairs=True)


async def test_repairs_are_done_while_the_trail_is_away_and_are_written_in_their_order() -> None:
    trail = Trail()
    async with queue(trail, keeps_repairs=True) as audit:
        await audit.intend(ENTRY)
        trail.down = Unavailable("the database gave no answer")
        first = await audit.intend(REPAIR)  # the one that meets it
        await audit.settle(first, Outcome.SUCCESS)
        second = await audit.intend(REPAIR)
        with pytest.raises(AuditUnavailable):
            await audit.intend(ENTRY)
        await audit.settle(second, Outcome.FAILURE, "Conflict")
        assert (len(trail.rows), audit.lag) == (1, 4)
        trail.down = None
        await until(lambda: len(trail.rows) == 5)
    told = [("secret.recreate", "", ""), ("secret.recreate", "success", ""), ("secret.recreate", "", "")]
    assert trail.told[1:] == [*told, ("secret.recreate", "failure", "Conflict")]


async def test_repairs_wait_where_they_are_off_or_rows_of_the_trail_are_lost() -> None:
    trail = Trail()
    async with queue(trail) as audit:
        trail.down = Unavailable("the database gave no answer")
        with pytest.raises(AuditUnavailable):
            await audit.intend(REPAIR)
    async with queue(Trail(), keeps_repairs=True) as audit:
        audit.begin_term(str(Head(2, bytes(32))))
        with pytest.raises(AuditUnavailable, match="AuditTruncated"):
            await audit.intend(REPAIR)


async def test_no_more_is_kept_in_memory_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_queue, "KEPT", 3)
    trail = Trail(down=Unavailable("the database gave no answer"))
    async with queue(trail, keeps_repairs=True) as audit:
        kept = [await audit.intend(REPAIR) for _ in range(3)]
        with pytest.raises(AuditUnavailable):
            await audit.intend(REPAIR)
        for event in kept:
            await audit.settle(event, Outcome.SUCCESS)
        trail.down = None
        await until(lambda: len(trail.rows) == 6)


@pytest.mark.parametrize("rows", [2, audit_queue.MOST + 2])
async def test_a_stop_says_how_many_rows_were_not_written(rows: int, caplog: pytest.LogCaptureFixture) -> None:
    trail = Trail()
    async with queue(trail, keeps_repairs=True) as audit:
        await audit.intend(ENTRY)
        trail.down = Unavailable("the database gave no answer")
        for _ in range(rows // 2):
            await audit.settle(await audit.intend(REPAIR), Outcome.SUCCESS)
    assert f"{rows} rows of the audit trail were not written: the database gave no answer" in caplog.messages


async def test_a_stop_names_the_rows_that_a_trail_with_lost_ones_does_not_take(caplog: pytest.LogCaptureFixture) -> None:
    async with queue(Trail(), keeps_repairs=True) as audit:
        audit.begin_term(str(Head(2, bytes(32))))
        with pytest.raises(AuditUnavailable, match="AuditTruncated"):
            await audit.intend(REPAIR)
        audit.record(ENTRY, Outcome.DENIED, "AccessDenied")
    assert any(told.startswith("1 rows of the audit trail were not written: AuditTruncated") for told in caplog.messages)


async def test_who_waits_hears_once_that_the_trail_takes_entries_again() -> None:
    trail, heard = Trail(), []
    async with queue(trail) as audit:
        audit.on_back = lambda: heard.append(audit.problem)
        await audit.intend(ENTRY)
        trail.down = Unavailable("the database gave no answer")
        for _ in range(2):
            with pytest.raises(AuditUnavailable):
                await audit.intend(ENTRY)
        assert heard == []
        trail.down = None
        await until(lambda: heard)
        await audit.intend(ENTRY)
    assert heard == [""]
